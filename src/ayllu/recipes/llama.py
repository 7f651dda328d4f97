"""llama: a published shape, or one of your own, from raw text on as many devices as a layout says."""

from __future__ import annotations

import dataclasses
import math
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, stage
from ayllu.recipes.cria import EVERYDAY
from ayllu.recipes.stages import pretrain as stages

if TYPE_CHECKING:
    from ayllu.data.corpus import Corpus
    from ayllu.data.tokens.pack import Tokens
    from ayllu.model.config import ModelConfig
    from ayllu.text.tokenizer import Tokenizer

LENGTH = 8192
"""Ids in a row: what Llama 3 begins with (arXiv:2407.21783, section 3.4.1)."""
WARMUP = 8000
"""Most steps of linear warm-up (section 3.4.1)."""
ROUND = 128
"""The vocabulary of the model is a multiple of this, so that tensor parallelism can share it."""
WHOLE = 2_000_000_000
"""Parameters from which held-out text is measured with the weights in bf16: they are twice as small."""


def llama(
    *,
    model: str = "llama-3.1-8b",
    sources: tuple[str, ...] = EVERYDAY,
    licence: str | None = None,
    vocabulary: int | None = None,
    tokens: float | None = None,
    batch: int = 512,
    length: int = LENGTH,
    rate: float | None = None,
    speed: float | None = None,
    documents: int = 200,
    seed: int = 0,
    name: str = "llama",
) -> Any:
    """Train a model of a given shape from raw text, on this machine or under --layout on many, and release it.

    Parameters
    ----------
    model
        A published shape such as llama-3.1-8b, or a config.json of the Llama architecture.
    sources
        What to learn from: names of packaged sources, `folder:PATH` or `hf:OWNER/NAME`.
    licence
        Licence (SPDX identifier) of your own folders and data sets: a release needs to know it.
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
    name
        Name of the release, and of the channel that points to it.
    """
    shape = _shape(model)
    for label, value in (("batch", batch), ("length", length), ("documents", documents)):
        if value < 1:
            raise UserError(f"{label} is {value}; give at least 1")
    for label, amount in (("tokens", tokens), ("rate", rate), ("speed", speed)):
        if amount is not None and not 0 < amount < math.inf:
            raise UserError(f"{label} is {amount:g}; give a number above 0")
    if vocabulary is not None and vocabulary < 512:
        raise UserError(f"vocabulary is {vocabulary}; give at least 512")
    if not sources:
        raise UserError("no source is named; give at least one with --sources, such as folder:PATH")
    text = stages.corpus(sources=tuple(sources), licence=licence)
    tokenizer = stages.learn_tokenizer(text, size=vocabulary or shape.vocabulary)
    rows = stages.tokenize(text, tokenizer, length=length)
    fields = dataclasses.asdict(dataclasses.replace(shape, context=length, rope_scaling=None))
    plan = plan_steps(rows, tokenizer, shape=fields, tokens=tokens, batch=batch, rate=rate, speed=speed)
    base = stages.pretrain(rows, tokenizer, plan, seed=seed, mix={})
    scores = heldout(base, text, tokenizer, documents=documents)
    return release_base(base, text, scores, title=model, name=name, version="1.0.0", policy="open")


def _shape(model: str) -> ModelConfig:
    from ayllu.model.files import hf
    from ayllu.model.presets import PRESETS

    if model in PRESETS:
        return PRESETS[model]
    path = Path(model)
    folder = path.parent if path.name == "config.json" else path
    if not (folder / "config.json").is_file():
        raise UserError(
            f"there is no shape {model!r}; choose one of {', '.join(PRESETS)}, or give the path of a config.json"
        )
    try:
        return hf.load_config(folder)
    except ValueError as error:
        raise UserError(f"{folder / 'config.json'} cannot be used: {error}") from error


def peak_rate(parameters: int) -> float:
    """Llama 3's peak learning rate by size: 3e-4 * (8e9 / parameters)^(1/3).

    Within 5 % of the published 3e-4, 1.5e-4 and 8e-5 for 8, 70 and 405 billion (arXiv:2407.21783, table 3).
    """
    return 3e-4 * (8e9 / parameters) ** (1 / 3)


@stage(makes=stages.open_plan)
def plan_steps(
    ctx: Context,
    rows: Tokens,
    tokenizer: Tokenizer,
    *,
    shape: dict[str, Any],
    tokens: float | None,
    batch: int,
    rate: float | None,
    speed: float | None,
) -> None:
    """The model with the tokenizer's vocabulary, and the steps that the tokens make."""
    from ayllu.model.config import ModelConfig
    from ayllu.train.budget import BudgetPlan
    from ayllu.train.loop import TrainConfig, compiler_available
    from ayllu.train.machine import bf16_pays
    from ayllu.train.optimizer import OptimizerConfig

    config = ModelConfig(**shape | {"vocabulary": math.ceil(tokenizer.size / ROUND) * ROUND})
    length = rows.header.length
    there = sum(source.rows for source in rows.header.sources.values()) * length
    steps = max(round((tokens or there) / (batch * length)), 1)
    peak = rate or peak_rate(config.parameters)
    seen = steps * batch * length
    BudgetPlan(
        model=config,
        train=TrainConfig(
            steps=steps,
            batch=batch,
            warmup=max(min(steps // 10, WARMUP), 1),
            # Muon's updates have AdamW's size, so one rate serves both (Liu et al., arXiv:2502.16982, section 2.2).
            optimizer=OptimizerConfig(muon_lr=peak, adam_lr=peak),
            precision="bf16" if bf16_pays() else "float32",
            compiled=compiler_available(),
            clip=1.0,
            checkpoint_seconds=60.0,
        ),
        tokens_per_second=speed or 0.0,
        seconds=seen / speed if speed else 0.0,
        bits_per_byte=None,
    ).write(ctx.folder / "plan.json")
    ctx.note("parameters", config.parameters)
    ctx.note("steps", steps)
    ctx.note("passes", round(seen / there, 3))


@stage()
def heldout(ctx: Context, model: Path, text: Corpus, tokenizer: Tokenizer, *, documents: int) -> None:
    """Bits per byte of held-out documents."""
    import torch

    from ayllu.evals.likelihood.heldout import document_bits
    from ayllu.evals.score import Scores
    from ayllu.model.files import hf

    large = hf.load_config(model).parameters >= WHOLE
    weights = hf.load(model, dtype=torch.bfloat16 if large else torch.float32).eval()
    chosen = [(document.source, document.text) for document in islice(text.documents("heldout"), documents)]
    scores = Scores().with_documents(document_bits(weights, tokenizer, chosen, total=len(chosen)))
    scores.save(ctx.folder)
    ctx.note("bits_per_byte", {name: score["value"] for name, score in scores.as_json()["bits_per_byte"].items()})


@stage(makes=lambda folder: folder / "release")
def release_base(
    ctx: Context, base: Path, text: Corpus, scores: Path, *, title: str, name: str, version: str, policy: str
) -> None:
    """A signed folder that stands alone."""
    from ayllu.lab.store import read_manifest
    from ayllu.release.build import build_release
    from ayllu.release.policy import find_policy

    told, measured = read_manifest(base), read_manifest(scores)["record"]["bits_per_byte"]
    expected = told["predictions"].get("seconds") or None
    records = {
        "description": f"A model of the shape {Path(title).name}, trained from raw text with Ayllu's recipe llama.",
        "predicted": {"seconds": expected},
        "measured": {"seconds": told["record"]["seconds"], "bits_per_byte": next(iter(measured.values()), None)},
        "pretraining": {
            field: told["record"][field]
            for field in ("steps", "tokens", "tokens_per_second", "flops", "final_loss", "loss")
        },
        "machine": told["machine"],
    }
    summary = build_release(
        ctx.folder / "release",
        weights=base,
        scores=scores,
        sources=[source for source in text.sources if source.get("documents")],
        records=records,
        name=name,
        version=version,
        policy=find_policy(policy),
    )
    for field, value in records.items():
        ctx.note(field, value)
    ctx.note("gates", list(summary.gates))
