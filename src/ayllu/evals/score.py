"""What was measured, item by item and document by document, and the scores that follow from it.

A `Scores` holds the raw outcomes, and every figure is computed from them on reading. `save` writes three files,

    scores.json      the figures
    items.jsonl      one line an item: id, set, digest, gold, log_likelihoods, bytes, tokens, overlap, correct,
                     correct_norm
    documents.jsonl  one line a held-out document: source, digest, bits, bytes, tokens

so that anybody can compute each figure again; `ayllu.evals.recompute` does. The schema of scores.json:

    {
      "about":  {...},                                     what the caller recorded: suite, digest, dtype, ...
      "sets": {
        "hellaswag": {
          "title": "HellaSwag", "part": "validation", "licence": "MIT",
          "items": 1000, "missing": 0,                     planned, and of these without an answer (not finite)
          "headline": "accuracy_norm",                     the accuracy that is usually quoted for this set
          "accuracy":      {"value", "low", "high", "chance", "uniform"},   the likeliest choice is right
          "accuracy_norm": {"value", "low", "high", "chance", "uniform"},   ... by log-likelihood per byte of the choice
          "gold_bits_per_byte": {"value", "low", "high"},  of the right choice: mean over items
          "trained_on": ["everyday-english"],              sources in training that hold this benchmark's training part
          "overlap": null | {                              items whose words stand in the training documents
            "checked", "overlapping", "share",
            "clean": null | {"items", "accuracy": {...}, "accuracy_norm": {...}}
          }
        }
      },
      "bits_per_byte": {
        "everyday-english": {"value", "low", "high", "documents", "bytes"}
      },
      "scores": [{"name", "metric", "value", "low", "high", "n", "mode", "chance"}],   a line a figure, of all sets;
                                                        mode is rank, bpb, likelihood, rolling or generate
      "not_measured": [{"name", "reason"}]
    }

`low` and `high` bound the value with 95 % confidence: Wilson's interval for accuracies (with bounds for items that have
no answer), Student's t for the mean over items, the delta method over documents for bits per byte; null where one
observation allows no interval. `chance` is the accuracy of guessing, `uniform` that of a model which finds all tokens
equally likely: it knows nothing, yet the lengths of the choices lift or lower it (HellaSwag by length: 27 %), so that a
score means something only above both. Bytes are those of the choice in UTF-8 without the space before it, as
lm-evaluation-harness counts (its `acc_norm` counts characters: the same for ASCII) and as OLMo's `bpb_v2` does.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ayllu.evals.item import Headline
from ayllu.evals.likelihood.sets import find_set
from ayllu.evals.standard.answers import Answer, figures, save_answers
from ayllu.evals.standard.table import TASKS
from ayllu.evals.statistics import (
    ConfidenceInterval,
    attrition_interval,
    mean_interval,
    ratio_interval,
    share_interval,
)
from ayllu.evals.suite import items_digest
from ayllu.lab.error import UserError

SCORES, ITEMS, DOCUMENTS = "scores.json", "items.jsonl", "documents.jsonl"
PARTIAL = "items.partial.jsonl"
"""Answers of an evaluation under way (`ayllu.evals.journal`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a model answered one item."""

    id: str
    set: str
    digest: str
    """`Item.digest`: what was asked."""
    gold: int
    log_likelihoods: tuple[float, ...]
    """Natural log, one a choice."""
    bytes: tuple[int, ...]
    """UTF-8 bytes of each choice without the space before it."""
    tokens: tuple[int, ...]
    """Tokens that were scored of each choice."""
    overlap: bool | None = None
    """Whether its words stand in the training documents; None where that was not, or could not be, checked."""
    characters: tuple[int, ...] = ()
    """What `correct_norm` divides by in a standard set, as lm-eval has it; empty elsewhere: the bytes."""
    cluster: str = ""
    """Items of a standard set with the same one are not independent."""

    @property
    def answered(self) -> bool:
        """Whether there is a finite likelihood for every choice."""
        return all(map(math.isfinite, self.log_likelihoods))

    @property
    def correct(self) -> bool:
        """Whether the right choice is the likeliest."""
        return self.answered and _likeliest(self.log_likelihoods) == self.gold

    @property
    def correct_norm(self) -> bool:
        """Whether the right choice is the likeliest per byte; per character in a standard set."""
        return self.answered and _likeliest(self.log_likelihoods, self.characters or self.bytes) == self.gold

    @property
    def uniform(self) -> bool:
        """`correct` for a model that finds all tokens equally likely."""
        return _likeliest([-count for count in self.tokens]) == self.gold

    @property
    def uniform_norm(self) -> bool:
        """`correct_norm` for such a model."""
        return _likeliest([-count for count in self.tokens], self.characters or self.bytes) == self.gold

    @property
    def gold_bits_per_byte(self) -> float:
        """Bits per byte of the right choice."""
        return -self.log_likelihoods[self.gold] / math.log(2) / max(1, self.bytes[self.gold])

    def as_json(self) -> dict[str, Any]:
        """A line of items.jsonl; a likelihood that is not finite becomes null."""
        likelihoods = [value if math.isfinite(value) else None for value in self.log_likelihoods]
        verdicts = {"correct": self.correct, "correct_norm": self.correct_norm}
        line = {**asdict(self), "log_likelihoods": likelihoods, **verdicts}
        return {name: value for name, value in line.items() if value or name not in ("characters", "cluster")}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Outcome:
        """Read a line of items.jsonl. Raises KeyError, TypeError or ValueError where it is not one."""
        outcome = cls(
            id=line["id"],
            set=line["set"],
            digest=line["digest"],
            gold=line["gold"],
            log_likelihoods=tuple(math.nan if value is None else float(value) for value in line["log_likelihoods"]),
            bytes=tuple(line["bytes"]),
            tokens=tuple(line["tokens"]),
            overlap=line["overlap"],
            characters=tuple(line.get("characters", ())),
            cluster=line.get("cluster", ""),
        )
        if not 0 <= outcome.gold < len(outcome.log_likelihoods) == len(outcome.bytes) == len(outcome.tokens):
            raise ValueError(f"{outcome.id} has no likelihood for its right choice")
        return outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentBits:
    """How many bits a model needs for one held-out document."""

    source: str
    digest: str
    """First 16 hexadecimal digits of the sha256 of the text."""
    bits: float
    bytes: int
    tokens: int

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> DocumentBits:
        """Read a line of documents.jsonl. Raises KeyError, TypeError or ValueError where it is not one."""
        return cls(
            source=line["source"],
            digest=line["digest"],
            bits=float(line["bits"]),
            bytes=int(line["bytes"]),
            tokens=int(line["tokens"]),
        )


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Everything that was measured of one model."""

    outcomes: tuple[Outcome, ...] = ()
    documents: tuple[DocumentBits, ...] = ()
    trained_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Set to the sources in training that hold this benchmark's training part."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """JSON values that say how it was measured."""
    answers: tuple[Answer, ...] = ()
    """Of standard sets that are not ranked choices."""
    not_measured: Mapping[str, str] = field(default_factory=dict)
    """Standard sets that were asked for and could not be measured, each with the reason."""

    def by_set(self) -> dict[str, list[Outcome]]:
        """Outcomes of each set."""
        sets: dict[str, list[Outcome]] = {}
        for outcome in self.outcomes:
            sets.setdefault(outcome.set, []).append(outcome)
        return sets

    def by_source(self) -> dict[str, list[DocumentBits]]:
        """Documents of each source."""
        sources: dict[str, list[DocumentBits]] = {}
        for document in self.documents:
            sources.setdefault(document.source, []).append(document)
        return sources

    @property
    def digest(self) -> str:
        """`Suite.digest` of what was asked."""
        return items_digest((outcome.id, outcome.digest) for outcome in self.outcomes)

    def as_json(self) -> dict[str, Any]:
        """The object of scores.json (see the module's docstring)."""
        return {
            "about": {**self.about, **({"items_digest": self.digest} if self.outcomes else {})},
            "sets": {
                name: set_figures(name, outcomes, self.trained_on.get(name, ()))
                for name, outcomes in self.by_set().items()
            },
            "bits_per_byte": {source: source_figures(documents) for source, documents in self.by_source().items()},
            "scores": list(self._listed()),
            "not_measured": [{"name": name, "reason": reason} for name, reason in self.not_measured.items()],
        }

    def _listed(self) -> Iterator[dict[str, Any]]:
        for name, outcomes in self.by_set().items():
            yield from set_scores(name, outcomes)
        for name in dict.fromkeys(answer.task for answer in self.answers):
            yield from task_scores(name, [answer for answer in self.answers if answer.task == name])

    def with_documents(self, documents: Iterable[DocumentBits]) -> Scores:
        """These scores and those of held-out documents."""
        return replace(self, documents=(*self.documents, *documents))

    def save(self, folder: Path) -> None:
        """Write scores.json, items.jsonl and documents.jsonl into `folder`, each complete or not at all.

        Clears away the answers that an evaluation under way had kept there. Raises UserError where it cannot write.
        """
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / ITEMS, (json.dumps(outcome.as_json()) for outcome in self.outcomes))
        _write(folder / DOCUMENTS, (json.dumps(asdict(document)) for document in self.documents))
        if self.answers:
            save_answers(self.answers, folder)
        _write(folder / SCORES, [json.dumps(self.as_json(), indent=2, ensure_ascii=False)])
        (folder / PARTIAL).unlink(missing_ok=True)


def headline(name: str, outcomes: Sequence[Outcome] = ()) -> Headline:
    """The accuracy that is usually quoted for a set; a standard set is known by outcomes that count characters."""
    standard = TASKS.get(name) if outcomes and outcomes[0].characters else None
    if standard:
        return "accuracy_norm" if standard.metrics[0] == "acc_norm" else "accuracy"
    known = find_set(name)
    return known.headline if known else "accuracy_norm"


def set_scores(name: str, outcomes: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    """Entries of `scores`: the accuracy that is usually quoted, and bits per byte of the right choice."""
    quoted = headline(name, outcomes)
    entry = _accuracies(outcomes)[quoted]
    n, answered = len(outcomes), [outcome for outcome in outcomes if outcome.answered]
    bounds = {bound: entry[bound] for bound in ("value", "low", "high")}
    metric = {"accuracy": "acc", "accuracy_norm": "acc_norm"}[quoted]
    yield {"name": name, "metric": metric, **bounds, "n": n, "mode": "rank", "chance": entry["chance"]}
    if answered:
        gold = mean_interval([outcome.gold_bits_per_byte for outcome in answered]).as_json()
        yield {"name": name, "metric": "gold_bits_per_byte", **gold, "n": len(answered), "mode": "bpb", "chance": None}


def task_scores(name: str, answers: Sequence[Answer]) -> Iterator[dict[str, Any]]:
    """Entries of `scores` for a standard set that is not ranked choices: one for each metric."""
    known = TASKS.get(name)
    names = known.metrics if known else tuple(answers[0].values)
    for metric in names:
        yield figures(name, metric, answers)


def set_figures(name: str, outcomes: list[Outcome], trained_on: Iterable[str]) -> dict[str, Any]:
    """The figures of one set."""
    known = (TASKS.get(name) if outcomes[0].characters else None) or find_set(name)
    answered = [outcome for outcome in outcomes if outcome.answered]
    gold = mean_interval([outcome.gold_bits_per_byte for outcome in answered]) if answered else None
    return {
        "title": known.title if known else name,
        "part": known.part if known else "",
        "licence": known.licence if known else "",
        "items": len(outcomes),
        "missing": len(outcomes) - len(answered),
        "headline": headline(name, outcomes),
        **_accuracies(outcomes),
        "gold_bits_per_byte": gold.as_json() if gold else {"value": None, "low": None, "high": None},
        "trained_on": sorted(trained_on),
        "overlap": _overlap_figures(outcomes),
    }


def bits_per_byte_interval(documents: Sequence[DocumentBits]) -> ConfidenceInterval:
    """Bits per byte of one source with the delta method's interval over its documents."""
    return ratio_interval([document.bits for document in documents], [document.bytes for document in documents])


def source_figures(documents: list[DocumentBits]) -> dict[str, Any]:
    """The figures of one source of held-out text."""
    interval = bits_per_byte_interval(documents)
    return {**interval.as_json(), "documents": len(documents), "bytes": sum(document.bytes for document in documents)}


def _accuracies(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    answered = sum(outcome.answered for outcome in outcomes)
    chance = sum(1 / len(outcome.bytes) for outcome in outcomes) / len(outcomes)

    clusters = [outcome.cluster for outcome in outcomes]

    def entry(right: list[bool], uniform: int) -> dict[str, Any]:
        interval = (
            share_interval(right, clusters=clusters)
            if any(clusters) and answered == len(outcomes)
            else attrition_interval(sum(right), answered, len(outcomes))
        )
        return {**interval.as_json(), "chance": chance, "uniform": uniform / len(outcomes)}

    return {
        "accuracy": entry([o.correct for o in outcomes], sum(o.uniform for o in outcomes)),
        "accuracy_norm": entry([o.correct_norm for o in outcomes], sum(o.uniform_norm for o in outcomes)),
    }


def _overlap_figures(outcomes: list[Outcome]) -> dict[str, Any] | None:
    checked = [outcome for outcome in outcomes if outcome.overlap is not None]
    if not checked:
        return None
    clean = [outcome for outcome in outcomes if not outcome.overlap]
    overlapping = len(outcomes) - len(clean)
    return {
        "checked": len(checked),
        "overlapping": overlapping,
        "share": overlapping / len(checked),
        "clean": {"items": len(clean), **_accuracies(clean)} if clean else None,
    }


def _likeliest(log_likelihoods: Sequence[float], sizes: Sequence[int] | None = None) -> int:
    """The index of the highest value, per byte where sizes are given; the first of equals."""
    if sizes is not None:
        log_likelihoods = [value / max(1, size) for value, size in zip(log_likelihoods, sizes, strict=True)]
    return max(range(len(log_likelihoods)), key=log_likelihoods.__getitem__)


def _write(path: Path, lines: Iterable[str]) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UserError(
            f"cannot write {path} ({error.strerror or error}): free the disk or choose another folder"
        ) from error
