"""The data pipeline again, on a sample of raw documents: repair, rules, masks and tokens must come out as they did.

pipeline.jsonl of a proof, one line a document: `source`, `id`, `text` as the source has it, the rule that `broken` says
it breaks, and of a document that breaks none the sha256 of its `clean` text and of its `tokens`.

Documents in which something is masked stay out of the sample: a proof would publish what the mask is there to hide.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError
from ayllu.release.proof.answers import lowest, read_lines, write_lines

if TYPE_CHECKING:
    from ayllu.data.cleaning.judge import Judge
    from ayllu.data.document import Document
    from ayllu.text.tokenizer import Tokenizer

FILE = "pipeline.jsonl"
LOOKED_AT, SAMPLED = 2000, 12
"""Documents of a source, the first, of which some are drawn; and how many."""
NOT_DRAWN = ("folder:",)
"""Sources of one's own, whose raw documents are not copied into what may be published."""


@dataclass(frozen=True, kw_only=True)
class Origins:
    """Where the documents came from."""

    corpus: Path
    sources: Sequence[str]
    licence: str | None


def write_pipeline(folder: Path, origins: Origins, tokenizer: Tokenizer, cache: Path) -> dict[str, Any]:
    """Write pipeline.jsonl and return what proof.json says of it. Raises UserError, in words, where there is none."""
    from ayllu.data.cleaning.judge import Judge, rules_from_json
    from ayllu.data.corpus import Corpus

    corpus = Corpus(origins.corpus)
    told = corpus.summary["rules"]
    judge = Judge(rules_from_json(told))
    drawn = [document for name in origins.sources for document in _sample(name, origins, judge, cache)]
    if not drawn:
        raise UserError("no source of the corpus gives documents that may lie in a proof")
    wanted = {(document.source, document.id) for document in drawn}
    kept = {(row.source, row.id): row.text for row in corpus.documents(None) if (row.source, row.id) in wanted}
    rows = list(pipeline_rows(judge, tokenizer, drawn))
    for row in rows:
        text = kept.get((row["source"], row["id"]))
        if text is not None and _sha256(text) != row["clean"]:
            raise UserError(f"the corpus holds another text of {row['source']}/{row['id']} than its source gives")
        row["in_corpus"] = text is not None
    write_lines(folder / FILE, rows)
    return {"rules": told}


def pipeline_rows(judge: Judge, tokenizer: Tokenizer, documents: Iterable[Document]) -> Iterator[dict[str, Any]]:
    """The lines of pipeline.jsonl for raw documents."""
    for document in documents:
        row = {"source": document.source, "id": document.id, "text": document.text}
        yield row | processed(judge, tokenizer, document.text)


def _sample(name: str, origins: Origins, judge: Judge, cache: Path) -> list[Document]:
    """Some of a source's documents; none of one that cannot be had any more, or that is one's own."""
    from ayllu.data.cleaning import pii
    from ayllu.data.sources.registry import find_source

    if name.startswith(NOT_DRAWN):
        return []
    try:
        read = list(islice(find_source(name, licence=origins.licence).read(cache), LOOKED_AT))
    except UserError:
        return []
    open_ones = [document for document in read if not pii.mask(document.text)[1]]
    return lowest(open_ones, SAMPLED, seed=name, name=lambda document: document.id)


def processed(judge: Judge, tokenizer: Tokenizer, text: str) -> dict[str, Any]:
    """What the pipeline makes of one raw document."""
    from ayllu.data.cleaning import pii

    verdict = judge(text)
    if verdict.broken is not None:
        return {"broken": verdict.broken, "clean": None, "tokens": None}
    clean = pii.mask(verdict.text)[0] if judge.rules.mask_personal_data else verdict.text
    ids = [tokenizer.bos, *tokenizer.encode(clean), tokenizer.eos]
    return {"broken": None, "clean": _sha256(clean), "tokens": _sha256(json.dumps(ids))}


def pipeline_problems(folder: Path, told: Mapping[str, Any], tokenizer: Tokenizer) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, for each document of the sample that comes out otherwise."""
    from ayllu.data.cleaning.judge import Judge, rules_from_json

    judge = Judge(rules_from_json(told["rules"]))
    for row in read_lines(folder / FILE):
        found = processed(judge, tokenizer, row["text"])
        for what, value in found.items():
            if row[what] != value:
                said = {"broken": "rule", "clean": "clean text", "tokens": "tokens"}[what]
                yield FILE, f"says another {said} for {row['source']}/{row['id']} than the pipeline gives"
                break


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
