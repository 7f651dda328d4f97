"""Pretraining and finetuning: a plan for the minutes or the tokens that are given, and the weights."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.limits import tell_time
from ayllu.recipes.stages.artifacts import Weights, open_plan

if TYPE_CHECKING:
    from ayllu.data.tokens.pack import Tokens
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.budget import BudgetPlan
    from ayllu.train.loop import TrainConfig, TrainResult

FINETUNE_MIX = {"everyday-chat": 0.75, "remembered": 0.25}
WARMUP = 8000
"""Most steps of linear warm-up of a published shape (Llama 3, arXiv:2407.21783, section 3.4.1)."""
ROUND = 128
"""The vocabulary of such a model is a multiple of this, so that tensor parallelism can share it."""


@stage(identity="fit_model", makes=open_plan, added={"lr": None, "width": None, "depth": None, "batch": None})
def plan_pretraining(
    ctx: Context,
    tokens: Handle[Tokens],
    *,
    budget: float,
    seed: int,
    speed: float | None,
    mix: dict[str, float],
    lr: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    batch: int | None = None,
) -> None:
    """Shape, steps and prediction for `budget` minutes on this machine; what is given takes the place of the rules."""
    from ayllu.data.tokens.loader import Loader
    from ayllu.train.budget import LEAST_STEPS, Chosen, plan_budget

    rows = tokens.value
    loader = Loader(rows, seed=seed, weights=present(rows, mix))
    chosen = Chosen(lr=lr, width=width, depth=depth, batch=batch)
    plan = plan_budget(loader, rows.header, minutes=budget, seed=seed, speed=speed, chosen=chosen)
    plan.write(ctx.folder / "plan.json")
    tell_time(ctx, asked=60 * budget, expected=plan.seconds, fewest=f"{LEAST_STEPS} steps are the fewest of a run")


def present(tokens: Tokens, mix: dict[str, float]) -> dict[str, float] | None:
    """The mix without sources that are not there (an optional one may be out of reach)."""
    there = {name: weight for name, weight in mix.items() if name in tokens.header.sources}
    return there or None


def peak_lr(parameters: int) -> float:
    """Llama 3's peak learning rate by size: 3e-4 * (8e9 / parameters)^(1/3).

    Within 5 % of the published 3e-4, 1.5e-4 and 8e-5 for 8, 70 and 405 billion (arXiv:2407.21783, table 3).
    """
    return 3e-4 * (8e9 / parameters) ** (1 / 3)


@stage(identity="plan_steps", makes=open_plan, names_in_key={"lr": "rate"})
def plan_steps(
    ctx: Context,
    rows: Handle[Tokens],
    tokenizer: Handle[Tokenizer],
    *,
    shape: dict[str, Any],
    tokens: float | None,
    batch: int,
    lr: float | None,
    speed: float | None,
) -> None:
    """The model with the tokenizer's vocabulary, and the steps that the tokens make."""
    from ayllu.model.config import ModelConfig
    from ayllu.train.budget import BudgetPlan, compiling_pays
    from ayllu.train.loop import TrainConfig
    from ayllu.train.machine import fastest_precision
    from ayllu.train.optimizer import OptimizerConfig

    config = ModelConfig(**shape | {"vocabulary": math.ceil(tokenizer.value.size / ROUND) * ROUND})
    header = rows.value.header
    length = header.length
    there = sum(source.rows for source in header.sources.values()) * length
    steps = max(round((tokens or there) / (batch * length)), 1)
    peak = lr or peak_lr(config.parameters)
    seen, precision = steps * batch * length, fastest_precision()
    BudgetPlan(
        model=config,
        train=TrainConfig(
            steps=steps,
            batch=batch,
            warmup=max(min(steps // 10, WARMUP), 1),
            # Muon's updates have AdamW's size, so one rate serves both (Liu et al., arXiv:2502.16982, section 2.2).
            optimizer=OptimizerConfig(muon_lr=peak, adam_lr=peak),
            precision=precision,
            compiled=compiling_pays(config, length=length, tokens=seen, precision=precision, speed=speed),
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


@stage(identity="pretrain", makes=Weights, distributed=True)
def pretrain(
    ctx: Context,
    tokens: Handle[Tokens],
    tokenizer: Handle[Tokenizer],
    plan: Handle[BudgetPlan],
    *,
    seed: int,
    mix: dict[str, float],
) -> None:
    """Weights from scratch."""
    import torch

    from ayllu.data.tokens.loader import Loader
    from ayllu.model.transformer import Transformer
    from ayllu.recipes.stages.proof import kept_in
    from ayllu.train.loop import Execution, train

    rows, planned = tokens.value, plan.value
    ctx.predict("seconds", round(planned.seconds, 1))
    ctx.predict("bits_per_byte", planned.bits_per_byte)
    # Of a spread model each process makes its part alone; what a single process draws is the same.
    with torch.device("meta" if ctx.layout else "cpu"):
        model = Transformer(planned.model)
    if not ctx.layout:
        model.initialise(seed)
    loader = Loader(rows, seed=seed, weights=present(rows, mix))
    result = train(
        model,
        loader,
        planned.train,
        scratch=ctx.scratch,
        title="pretrain",
        execution=Execution(layout=ctx.layout, logs=ctx.logs),
        seed=seed,
        stretch=kept_in(ctx),
    )
    keep_weights(ctx, tokenizer.value, result, planned.train, loader.length)


@stage(identity="finetune", makes=Weights, distributed=True)
def finetune(
    ctx: Context,
    base: Handle[Weights],
    chats: Handle[Tokens],
    tokenizer: Handle[Tokenizer],
    plan: Handle[BudgetPlan],
    *,
    seed: int,
    share: float,
) -> None:
    """The same weights after conversations; takes about `share` of the budget."""
    from ayllu.data.tokens.loader import Loader
    from ayllu.model.files import hf
    from ayllu.recipes.stages.proof import kept_in
    from ayllu.train.loop import Execution, train

    rows, planned = chats.value, plan.value
    loader = Loader(rows, seed=seed, weights=FINETUNE_MIX)
    config = planned.finetune(share, rows=rows.header.sources["everyday-chat"].rows)
    ctx.predict("seconds", round(config.steps * config.batch * loader.length / planned.tokens_per_second, 1))
    model = hf.load(base.value)
    execution = Execution(layout=ctx.layout, logs=ctx.logs)
    stretch = kept_in(ctx)
    result = train(model, loader, config, scratch=ctx.scratch, title="finetune", execution=execution, stretch=stretch)
    keep_weights(ctx, tokenizer.value, result, config, loader.length)


def keep_weights(ctx: Context, tokenizer: Tokenizer, result: TrainResult, config: TrainConfig, length: int) -> None:
    from ayllu.model.files import hf
    from ayllu.recipes.stages.proof import note_stretch
    from ayllu.train.flops import training_flops
    from ayllu.train.loop import write_losses

    if not ctx.main:
        return
    note_stretch(ctx, result, {"objective": "next_token"})
    model = result.model
    hf.save(ctx.folder, model, read=result.read)
    tokenizer.save(ctx.folder)
    write_losses(ctx.folder / "losses.jsonl", result.losses)
    last = [loss for loss in result.losses[-min(50, len(result.losses)) :] if math.isfinite(loss)]
    seen = config.steps * config.batch * length
    ctx.note("seconds", round(result.seconds, 1))
    ctx.note("waited_for_checkpoints", round(result.waited, 2))
    ctx.note("final_loss", result.losses[-1])
    ctx.note("loss", math.fsum(last) / max(len(last), 1))
    ctx.note("steps", config.steps)
    ctx.note("batch", config.batch)
    ctx.note("length", length)
    ctx.note("rate", config.optimizer.muon_lr)
    ctx.note("tokens", result.tokens)
    ctx.note("parameters", model.config.parameters)
    ctx.note("tokens_per_second", round(seen / result.seconds) if result.seconds else None)
    ctx.note("flops", training_flops(model.config, length) * seen)
    ctx.note("configuration", dataclasses.asdict(model.config))
