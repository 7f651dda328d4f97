"""llama: a published shape, or one of your own, from raw text on as many devices as a layout says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle
from ayllu.recipes.cria import EVERYDAY
from ayllu.recipes.limits import check_least, check_licences, check_positive, check_rules, check_seed
from ayllu.recipes.stages.artifacts import Release, ScoreFolder, Weights
from ayllu.recipes.stages.corpus import corpus, learn_tokenizer, tokenize, used_sources
from ayllu.recipes.stages.evaluate import heldout
from ayllu.recipes.stages.pretrain import plan_steps, pretrain
from ayllu.recipes.stages.release import PRETRAINING, Contents, policy_arguments, previous_argument, release_stage

if TYPE_CHECKING:
    from ayllu.data.corpus import Corpus
    from ayllu.model.config import ModelConfig

LENGTH = 8192
"""Ids in a row: what Llama 3 begins with (arXiv:2407.21783, section 3.4.1)."""


def llama(
    *,
    model: str = "llama-3.1-8b",
    sources: tuple[str, ...] = EVERYDAY,
    licence: str | None = None,
    language: tuple[str, ...] = ("en",),
    rules: tuple[str, ...] = (),
    vocabulary: int | None = None,
    tokens: float | None = None,
    batch: int = 512,
    length: int = LENGTH,
    rate: float | None = None,
    speed: float | None = None,
    documents: int = 200,
    seed: int = 0,
    policy: Path | None = None,
    previous: Path | None = None,
    name: str = "llama",
    private: bool = False,
) -> Handle[Release]:
    """Train a model of a given shape from raw text, on this machine or under --layout on many, and release it.

    Parameters
    ----------
    model
        A published shape such as llama-3.1-8b, or a config.json of the Llama architecture, whatever it is called.
    sources
        What to learn from: names of packaged sources, `folder:PATH` or `hf:OWNER/NAME`.
    licence
        Licence (SPDX identifier) of your own folders and data sets: a release needs to know it.
    language
        Languages to keep documents in, by ISO 639-1 codes such as en es, or any.
    rules
        Limits of the cleaning, as NAME=LIMIT: words_min=5, short_lines_max=off. A wrong name lists all of them.
    vocabulary
        Entries of the tokenizer; the shape's own when not given.
    tokens
        Tokens to train on; one pass over the text when not given.
    batch
        Rows in a step, on all devices together.
    length
        Tokens in a row.
    rate
        Peak learning rate; Llama 3's for this size when not given.
    speed
        Tokens per second that `ayllu fleet plan` expects, to predict the time with.
    documents
        Held-out documents to measure.
    seed
        Draws the first weights and the order of the data.
    policy
        Rules of the release, signed by `ayllu release policy`: thresholds of its scores. Ayllu's own when not given.
    previous
        The release before, by its name or folder: what changed since stands in the new one, with scores paired by
        item.
    name
        Name of the release, and of the channel that points to it.
    private
        Keep the model for yourself: it has a name, serves and exports, is not signed, and any licence will do.
    """
    shape = _shape(model)
    check_least(1, batch=batch, length=length, documents=documents)
    check_seed(seed)
    check_positive(tokens=tokens, rate=rate, speed=speed)
    check_least(512, vocabulary=vocabulary)
    if not sources:
        raise UserError("no source is named; give at least one with --sources, such as folder:PATH")
    signed, before = policy_arguments(policy, private=private)
    since = previous_argument(previous, private=private)
    check_rules(language, rules)
    check_licences(sources, licence=licence, policy=signed)
    text = corpus(sources=tuple(sources), licence=licence, language=tuple(language), rules=tuple(rules))
    tokenizer = learn_tokenizer(text, size=vocabulary or shape.vocabulary)
    rows = tokenize(text, tokenizer, length=length)
    fields = dataclasses.asdict(dataclasses.replace(shape, context=length, rope_scaling=None))
    plan = plan_steps(rows, tokenizer, shape=fields, tokens=tokens, batch=batch, lr=rate, speed=speed)
    base = pretrain(rows, tokenizer, plan, seed=seed, mix={})
    scores = heldout(base, text, tokenizer, documents=documents, policy=before)
    return release_base(base, text, scores, title=model, name=name, version="1.0.0", policy=signed, previous=since)


def _shape(model: str) -> ModelConfig:
    from ayllu.model.files.hf_config import load_config
    from ayllu.model.presets import PRESETS

    if model in PRESETS:
        return PRESETS[model]
    path = Path(model).expanduser()
    file = path / "config.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"there is no shape {model!r}; choose one of {', '.join(PRESETS)}, or give the path of a config.json"
        )
    try:
        return load_config(file)
    except ValueError as error:
        raise UserError(f"{file} cannot be used: {error}") from error


@release_stage(identity="release_base", added={"previous": None})
def release_base(
    ctx: Context,
    base: Handle[Weights],
    text: Handle[Corpus],
    scores: Handle[ScoreFolder],
    *,
    title: str,
    name: str,
    version: str,
    policy: str,
    previous: str | None = None,
) -> Contents:
    """The pretrained model."""
    from ayllu.recipes.stages.proof import origins, training
    from ayllu.release.proof.make import Evidence

    told, measured = base.artifact.manifest, scores.artifact.record["bits_per_byte"]
    return Contents(
        name=name,
        version=version,
        policy=policy,
        weights=base.value,
        scores=scores.value,
        sources=used_sources(text.value),
        records={
            "description": f"A model of the shape {Path(title).name}, trained from raw text with Ayllu's recipe llama.",
            "predicted": {"seconds": told["predictions"].get("seconds") or None},
            "measured": {"seconds": told["record"]["seconds"], "bits_per_byte": next(iter(measured.values()), None)},
            "pretraining": {field: told["record"][field] for field in PRETRAINING},
            "machine": told["machine"],
        },
        previous=previous,
        evidence=Evidence(trainings=[training("pretrain", base, kept=1.0)], origins=origins(text)),
    )
