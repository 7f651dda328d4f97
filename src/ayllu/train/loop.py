"""The training loop: batches in, weights out, a checkpoint every few seconds, the same bits after a kill.

Shapes: B batch, T time.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from ayllu.data.loader import IGNORED, Batch, Loader
from ayllu.lab.error import UserError
from ayllu.lab.progress import bar, say
from ayllu.model.transformer import Transformer
from ayllu.train import checkpoint
from ayllu.train.flops import training_flops
from ayllu.train.objective import next_token_loss
from ayllu.train.optimizer import Optimizer, OptimizerConfig
from ayllu.train.schedule import rate

DTYPES = {"bf16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What a run does: how many steps of which size, at which rates."""

    steps: int
    batch: int
    """Sequences per step."""
    warmup: int
    """Steps of linear warm-up."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    precision: str = "bf16"
    """Type of the matrix products: bf16 or float32; the weights stay float32."""
    compiled: bool = False
    """Whether `torch.compile` fuses the step (it changes the last bits of the losses)."""
    checkpoint_seconds: float = 15.0


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a finished run leaves beside the trained model."""

    losses: list[float]
    """Mean cross-entropy per predicted token of each step, in nats."""
    seconds: float
    """Time inside steps, all attempts together, as far as checkpoints remember it."""
    tokens: int
    """Ids predicted."""


LossAndGradient = Callable[[Batch], Tensor]


def loss_function(model: Transformer, config: TrainConfig) -> LossAndGradient:
    """The summed loss of a batch, fused where the configuration says so."""
    # Compiled without this, threads add the embedding's gradients in whatever order they come: other bits in every run.
    torch.use_deterministic_algorithms(True, warn_only=True)
    dtype = DTYPES[config.precision]

    def loss(ids_BT: Tensor, targets_BT: Tensor, documents_BT: Tensor) -> Tensor:
        return next_token_loss(model, Batch(ids_BT, targets_BT, documents_BT), dtype=dtype)

    fused = torch.compile(loss, dynamic=False) if config.compiled else loss
    return lambda batch: fused(batch.ids_BT, batch.targets_BT, batch.documents_BT)


def train_step(loss: LossAndGradient, optimizer: Optimizer, batch: Batch, factor: float) -> float:
    """One update: loss, gradients, new weights. Returns the mean loss per predicted token before the update.

    A loss or gradient that is no finite number leaves weights and optimizer untouched, and NaN is returned.
    """
    optimizer.set_rate(factor)
    predicted = (batch.targets_BT != IGNORED).sum()
    mean = loss(batch) / predicted.clamp(min=1)
    mean.backward()
    norm = torch.nn.utils.get_total_norm([w.grad for w in optimizer.weights() if w.grad is not None])
    value, finite = float(mean.detach()), bool(torch.isfinite(norm + mean.detach()))
    if finite:
        optimizer.step()
    optimizer.zero_grad()
    return value if finite else math.nan


def train(model: Transformer, loader: Loader, config: TrainConfig, *, scratch: Path, title: str) -> TrainResult:
    """Run all steps, from the last checkpoint in `scratch` if there is one. Changes `model`.

    The order of the data depends on the step alone, and nothing in the model is random, so a run that was killed ends
    with the bits of one that was not. SIGTERM writes a checkpoint and leaves with UserError.
    """
    optimizer = Optimizer(model, config.optimizer)
    loss = loss_function(model, config)
    first, losses, seconds, tokens = _resume(scratch, model, optimizer)
    flops = training_flops(model.config, loader.length) * config.batch * loader.length
    saved = time.monotonic()
    bad = 0
    with bar(title, total=config.steps, unit="steps") as progress, _on_termination() as asked:
        progress.begin_at(first)
        for step in range(first, config.steps):
            began = time.monotonic()
            batch = loader.batch(step * config.batch, config.batch)
            value = train_step(loss, optimizer, batch, rate(step, steps=config.steps, warmup=config.warmup))
            bad = 0 if math.isfinite(value) else bad + 1
            if bad == 10:
                raise UserError(f"{title}: the loss was no number for 10 steps up to {step}; lower the learning rate")
            losses.append(value)
            tokens += int((batch.targets_BT != IGNORED).sum())
            now = time.monotonic()
            seconds += now - began
            rate_now = config.batch * loader.length / (now - began)
            progress.advance(
                1, f"loss {value:.3f} · {rate_now:,.0f} tokens/s · {flops / (now - began) / 1e9:.0f} GFLOP/s"
            )
            if asked or now - saved > config.checkpoint_seconds:
                _save(scratch, step + 1, model, optimizer, losses, seconds, tokens)
                saved = time.monotonic()
            if asked:
                raise UserError(
                    f"{title}: asked to stop; a checkpoint of step {step + 1} is kept: start again to go on"
                )
    return TrainResult(losses=losses, seconds=seconds, tokens=tokens)


def _save(
    scratch: Path, step: int, model: Transformer, optimizer: Optimizer, losses: list[float], seconds: float, tokens: int
) -> None:
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "losses": losses,
        "seconds": seconds,
        "tokens": tokens,
    }
    checkpoint.save(scratch / "checkpoints", step, state)


def _resume(scratch: Path, model: Transformer, optimizer: Optimizer) -> tuple[int, list[float], float, int]:
    found = checkpoint.latest(scratch / "checkpoints")
    if found is None:
        return 0, [], 0.0, 0
    step, state = found
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    say(f"going on from step {step}")
    return step, state["losses"], state["seconds"], state["tokens"]


@contextlib.contextmanager
def _on_termination() -> Iterator[list[int]]:
    """Collect SIGTERM instead of dying from it, where this is the main thread."""
    asked: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    try:
        before: Any = signal.signal(signal.SIGTERM, remember)
    except ValueError:  # signals belong to the main thread
        yield asked
        return
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


def write_losses(path: Path, losses: list[float]) -> None:
    """One JSON object a line: step (from 1) and loss in nats per token."""
    lines = (json.dumps({"step": step, "loss": value}) for step, value in enumerate(losses, start=1))
    path.write_text("\n".join(lines) + "\n")


def compiler_available() -> bool:
    """Whether `torch.compile` can build for this machine's CPU: it needs a C++ compiler and Python's headers."""
    import sysconfig

    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return headers.exists() and any(shutil.which(name) for name in ("g++", "clang++"))
