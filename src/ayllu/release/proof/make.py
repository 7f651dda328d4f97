"""Write the proof of a release that is about to be built: from its weights, its scores and what was kept on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError
from ayllu.release.digest import inspect_weights
from ayllu.release.proof.answers import (
    DOCUMENTS,
    LONGEST,
    MOST_DOCUMENTS,
    MOST_ITEMS,
    Respondent,
    digest_of,
    lowest,
    read_lines,
    write_answers,
)
from ayllu.release.proof.folder import seal_proof
from ayllu.release.proof.lessons import Lessons, write_lessons
from ayllu.release.proof.pipeline import Origins, write_pipeline
from ayllu.release.proof.training import Training, write_training

if TYPE_CHECKING:
    from ayllu.evals.dtype import Dtype
    from ayllu.evals.item import Item

ANSWERS = ("generations", "log-likelihoods", "scores")
PIPELINE = "data pipeline"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a recipe has of how its release came to be."""

    trainings: Sequence[Training] = ()
    origins: Origins | None = None
    """Of the documents; None where no corpus was learnt from."""
    lessons: Lessons | None = None
    """What was learnt from generators, where no corpus was."""
    no_origins: str = "no corpus of documents was learnt from"
    """Why there are none."""


def write_proof(
    folder: Path, evidence: Evidence, *, weights: Path, scores: Path, release: Mapping[str, str], cache: Path
) -> dict[str, Any]:
    """Write a proof into the new folder `folder`, and return what the release's records are to say of it.

    `weights` and `scores` are what `build_release` is given, `release` name and version. A part that cannot be had is
    left out and named with its reason.
    """
    from ayllu.evals.dtype import dtype_for
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.machine import arithmetic

    folder.mkdir(parents=True)
    stored, tokenizer = inspect_weights(weights), Tokenizer.load(weights)
    parts: dict[str, Any] = {}
    lacking: dict[str, str] = {}
    own = dtype_for(stored.parameters)
    items, documents = _texts(scores, evidence, stored.digest, cache)
    if items or documents:
        write_answers(folder, _respondent(weights, own), items, documents, seed=stored.digest)
        parts |= {name: {"machine": arithmetic(), "dtype": own} for name in ANSWERS}
        # In a batch with others, so not to the same bits, but in the same type.
        parts["scores"]["dtype"] = _about(scores).get("dtype") or own
    else:
        lacking |= dict.fromkeys(ANSWERS, "no text of what was measured can be had any more")
    for training in evidence.trainings:
        name = f"training {training.name}"
        try:
            parts[name] = write_training(folder, training)
        except UserError as error:
            lacking[name] = str(error)
    try:
        if evidence.origins is not None:
            parts[PIPELINE] = write_pipeline(folder, evidence.origins, tokenizer, cache)
        elif evidence.lessons is not None:
            parts[PIPELINE] = write_lessons(folder, evidence.lessons, tokenizer)
        else:
            raise UserError(evidence.no_origins)
    except UserError as error:
        lacking[PIPELINE] = str(error)
    facts = {"release": {**release, "model_digest": stored.digest}, "parts": parts, "lacking": lacking}
    return {"sha256": seal_proof(folder, facts), "parts": sorted(parts), "lacking": lacking}


def _respondent(weights: Path, name: Dtype) -> Respondent:
    from ayllu.evals.dtype import torch_dtype
    from ayllu.model.files import hf
    from ayllu.text.tokenizer import Tokenizer

    dtype = torch_dtype(name)
    return Respondent(model=hf.load(weights, dtype=dtype).eval(), tokenizer=Tokenizer.load(weights), dtype=dtype)


def _texts(scores: Path, evidence: Evidence, seed: str, cache: Path) -> tuple[list[Item], list[tuple[str, str]]]:
    """Questions and documents of the scores, as far as their text can be had; which of them, the weights' digest says.

    The weights are there before anything is measured, so that nobody chooses what can be asked again.
    """
    items = lowest(list(_items(scores, cache)), MOST_ITEMS, seed=seed, name=lambda item: item.id)
    found = list(_documents(scores, evidence.origins.corpus)) if evidence.origins else []
    documents = lowest(found, MOST_DOCUMENTS, seed=seed, name=lambda pair: pair[1])
    return items, documents


def _items(scores: Path, cache: Path) -> Iterator[Item]:
    from ayllu.evals.suite import load_suite

    asked = {line["id"]: line for line in read_lines(scores / "items.jsonl")}
    suite = _about(scores).get("suite")
    if not asked or not suite:
        return
    counts: dict[str, int] = {}
    for line in asked.values():
        counts[line["set"]] = counts.get(line["set"], 0) + 1
    for item in load_suite(suite, items_per_set=max(counts.values()), cache=cache).items:
        if item.id in asked and asked[item.id]["digest"] == item.digest and _length(item) <= LONGEST:
            yield item


def _about(scores: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((scores / "scores.json").read_text(encoding="utf-8"))["about"]
    return about


def _length(item: Item) -> int:
    return len(item.context) + sum(map(len, item.choices))


def _documents(scores: Path, corpus: Path) -> Iterator[tuple[str, str]]:
    from ayllu.data.corpus import Corpus

    measured = {(line["source"], line["digest"]) for line in read_lines(scores / DOCUMENTS)}
    for document in islice(Corpus(corpus).documents("heldout"), 100_000):
        if len(document.text) <= LONGEST and (document.source, digest_of(document.text)) in measured:
            yield document.source, document.text
