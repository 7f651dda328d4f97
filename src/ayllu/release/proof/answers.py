"""What the released weights say, written down for comparison: generations token by token, log-likelihoods by value.

Each question is asked alone and in one type, so that whoever asks it again computes the same sums in the same order.

Files of a proof, JSON lines:

    items.jsonl        questions of the scores with their text: id, set, context, choices, leads, gold
    documents.jsonl    held-out documents of the scores: source, text
    likelihoods.jsonl  of some of them: item (nats of each choice) or document (bits), and `values`
    generations.jsonl  prompt and ids drawn greedily, and by how much each led the next in logits (`gaps`)
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.evals.item import Item
from ayllu.release.proof.kind import LIKELIHOOD, NEAR_TIE, ROUNDED, ROUNDED_MEAN, Kind

if TYPE_CHECKING:
    import torch

    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

ITEMS, DOCUMENTS = "items.jsonl", "documents.jsonl"
LIKELIHOODS, GENERATIONS = "likelihoods.jsonl", "generations.jsonl"
MOST_ITEMS, MOST_DOCUMENTS = 600, 300
"""Questions and documents whose text a proof holds, of which whoever verifies draws some."""
LONGEST = 12_000
"""Characters of the longest text that is taken: a longer one takes too long to read again."""
ASKED_ITEMS, ASKED_DOCUMENTS = 12, 6
"""How many are asked again: to the last bit those that a proof has values of, and as many more of the scores."""
PROMPTS, PROMPT_IDS, DRAWN = 6, 32, 24
"""Generations, most ids of a prompt, and ids that are drawn behind it."""


@dataclass(frozen=True, kw_only=True)
class Respondent:
    """The released model, and the type that it computes in."""

    model: Transformer
    tokenizer: Tokenizer
    dtype: torch.dtype

    def item(self, item: Item) -> list[float]:
        """Log-likelihood of each choice, in nats."""
        from ayllu.evals.likelihood.log_probabilities import shared_log_likelihoods
        from ayllu.evals.likelihood.multiple_choice import tokenize_items

        questions = tokenize_items(self.tokenizer, [item])
        return next(iter(shared_log_likelihoods(self.model, questions, dtype=self.dtype)))[1]

    def document(self, source: str, text: str) -> list[float]:
        """Bits of a document, alone in a list."""
        from ayllu.evals.likelihood.heldout import document_bits

        found = document_bits(self.model, self.tokenizer, [(source, text)], dtype=self.dtype)
        return [row.bits for row in found]

    def continued(self, prompt: Sequence[int]) -> tuple[list[int], list[float]]:
        """Ids that follow `prompt`, the likeliest each time, and by how many logits each leads the next."""
        from ayllu.model.generate import Drawer, generate
        from ayllu.model.sampling import GREEDY

        drawer, ids, gaps = Drawer(GREEDY, prompt, logprobs=2), [], []
        for drawn in generate(self.model, prompt, tokens=DRAWN, drawer=drawer):
            assert drawer.told is not None
            (_, first), (_, second) = drawer.told[1]
            ids.append(drawn)
            gaps.append(first - second)
        return ids, gaps


def item_line(item: Item) -> dict[str, Any]:
    """A question as items.jsonl has it."""
    fields = ("id", "set", "context", "choices", "leads", "gold")
    return {name: getattr(item, name) for name in fields}


def item_of(line: Mapping[str, Any]) -> Item:
    """The question of a line."""
    return Item(
        id=line["id"],
        set=line["set"],
        context=line["context"],
        choices=tuple(line["choices"]),
        leads=tuple(line["leads"]),
        gold=line["gold"],
        plain="",
    )


def lowest(rows: Sequence[Any], count: int, *, seed: str, name: Any) -> list[Any]:
    """The `count` rows whose names hash lowest behind `seed`, in their own order: nobody can choose which."""
    ranked = sorted(range(len(rows)), key=lambda i: hashlib.sha256(f"{seed}/{name(rows[i])}".encode()).digest())
    return [rows[i] for i in sorted(ranked[:count])]


def write_answers(
    folder: Path, asked: Respondent, items: Sequence[Item], documents: Sequence[tuple[str, str]], *, seed: str
) -> None:
    """Write the four files for `items` and `documents` (source, text); `seed` says which of them are asked."""
    write_lines(folder / ITEMS, map(item_line, items))
    write_lines(folder / DOCUMENTS, ({"source": source, "text": text} for source, text in documents))
    chosen = lowest(items, ASKED_ITEMS, seed=f"asked {seed}", name=lambda item: item.id)
    read = lowest(documents, ASKED_DOCUMENTS, seed=f"asked {seed}", name=lambda pair: pair[1])
    values: list[dict[str, Any]] = [{"item": item.id, "values": asked.item(item)} for item in chosen]
    values += [{"document": digest_of(text), "values": asked.document(source, text)} for source, text in read]
    write_lines(folder / LIKELIHOODS, values)
    texts = [item.context for item in chosen[:PROMPTS]] or [text for _, text in read[:PROMPTS]]
    write_lines(folder / GENERATIONS, (_generation(asked, text) for text in texts))


def _generation(asked: Respondent, text: str) -> dict[str, Any]:
    prompt = [asked.tokenizer.bos, *asked.tokenizer.encode(text)][:PROMPT_IDS]
    ids, gaps = asked.continued(prompt)
    return {"prompt": prompt, "ids": ids, "gaps": gaps}


def likelihood_problems(folder: Path, asked: Respondent, kind: Kind) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, for each value of the proof that does not come out again."""
    items = {line["id"]: item_of(line) for line in read_lines(folder / ITEMS)}
    documents = {digest_of(line["text"]): line for line in read_lines(folder / DOCUMENTS)}
    for line in read_lines(folder / LIKELIHOODS):
        if "item" in line:
            name, found = f"item {line['item']}", asked.item(items[line["item"]])
        else:
            document = documents[line["document"]]
            name, found = f"document {line['document']}", asked.document(document["source"], document["text"])
        told = [float(value) for value in line["values"]]
        if len(told) != len(found):
            yield LIKELIHOODS, f"has {len(told)} values for the {name}, which has {len(found)}"
        for one, other in zip(told, found, strict=False):
            if not kind.equal(one, other, absolute=LIKELIHOOD):
                yield LIKELIHOODS, f"says {one!r} for the {name}, which the released weights give {other!r}"
                break


def generation_problems(folder: Path, asked: Respondent, kind: Kind) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, for each generation that the released weights do not give."""
    for number, line in enumerate(read_lines(folder / GENERATIONS), start=1):
        told, (ids, _) = line["ids"], asked.continued(line["prompt"])
        place = next((at for at, (one, other) in enumerate(zip(told, ids, strict=False)) if one != other), None)
        if place is None and len(told) != len(ids):
            place = min(len(told), len(ids))
        tied = not kind.same and place is not None and any(gap < NEAR_TIE for gap in line["gaps"][: place + 1])
        if place is not None and not tied:
            yield GENERATIONS, f"says other tokens in generation {number}, from token {place + 1} on, than the weights"


def score_problems(release: Path, folder: Path, asked: Respondent, *, seed: int) -> Iterator[tuple[str, str]]:
    """A file of the release and what is wrong with it, for each score drawn with `seed` that the weights contradict."""
    rounding = _Rounding(str(asked.dtype).removeprefix("torch."))
    stated = {line["id"]: line for line in read_lines(release / ITEMS)}
    for line in _drawn(read_lines(folder / ITEMS), ASKED_ITEMS, seed):
        item = item_of(line)
        own = stated[item.id]
        if own["digest"] != item.digest:
            yield f"proof/{ITEMS}", f"holds another {item.id} than the one that was asked"
            continue
        yield from rounding.problems(ITEMS, item.id, own["log_likelihoods"], asked.item(item), own["tokens"])
    bits = {(line["source"], line["digest"]): line for line in read_lines(release / DOCUMENTS)}
    for line in _drawn(read_lines(folder / DOCUMENTS), ASKED_DOCUMENTS, seed):
        digest = digest_of(line["text"])
        if (line["source"], digest) not in bits:
            yield f"proof/{DOCUMENTS}", f"holds a document of {line['source']} that was not measured"
            continue
        own = bits[line["source"], digest]
        found = asked.document(line["source"], line["text"])
        yield from rounding.problems(DOCUMENTS, f"document {digest}", [own["bits"]], found, [own["tokens"]])
    yield from rounding.together()


class _Rounding:
    """How far stated scores and those that come now are apart, one by one and together."""

    def __init__(self, dtype: str) -> None:
        (self._each, self._share), self._mean = ROUNDED[dtype], ROUNDED_MEAN[dtype]
        self._apart: dict[str, list[float]] = {}

    def problems(
        self, file: str, name: str, told: Sequence[float | None], found: Sequence[float], tokens: Sequence[int]
    ) -> Iterator[tuple[str, str]]:
        """A file and what is wrong with it where a value is further apart than rounding brings it."""
        for one, other, count in zip(told, found, tokens, strict=True):
            apart = math.inf if one is None else abs(one - other)
            self._apart.setdefault(file, []).append(apart / math.sqrt(max(count, 1)))
            if apart > self._each * math.sqrt(max(count, 1)) + self._share * abs(other):
                yield file, f"says {one} for {name}, which the released weights give {other:.4f}"
                return

    def together(self) -> Iterator[tuple[str, str]]:
        """The same for the mean of all that were compared."""
        for file, apart in self._apart.items():
            if (mean := statistics.fmean(apart)) > self._mean and max(apart) <= self._each:
                yield file, f"says values that are {mean:.2g} from what the released weights give, in the mean"


def _drawn(rows: list[Any], count: int, seed: int) -> list[Any]:
    return random.Random(seed).sample(rows, min(count, len(rows)))


def digest_of(text: str) -> str:
    """A document as the scores name it (`DocumentBits.digest`)."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read_lines(path: Path) -> list[Any]:
    """Read JSON lines. Raises OSError or ValueError."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
