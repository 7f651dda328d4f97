"""The training loop: batches in, weights out, the same bits after a kill, on one process or on many.

Shapes: B batch, T time.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor

from ayllu.lab.error import Stopped, UserError
from ayllu.lab.progress import bar, say
from ayllu.model.transformer import Transformer
from ayllu.train.checkpoint import Checkpoints
from ayllu.train.distributed.float8 import end_float8
from ayllu.train.distributed.layout import Layout
from ayllu.train.distributed.parallel_model import Spread
from ayllu.train.distributed.processes import start_processes
from ayllu.train.flops import tokens_per_second, utilisation
from ayllu.train.loss_guard import Guard, GuardConfig
from ayllu.train.machine import matrix_rate
from ayllu.train.metrics import Metrics, draw
from ayllu.train.objectives.next_token import Countable, Objective, next_token_loss
from ayllu.train.optimizer import Optimizer, OptimizerConfig
from ayllu.train.schedule import rate
from ayllu.train.step import StepResult, train_step
from ayllu.train.watchdog import Watchdog

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
    clip: float | None = None
    """Norm to which a larger gradient is scaled down."""
    checkpoint_seconds: float = 15.0


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where and how a run computes: nothing of it changes what is computed, beyond rounding."""

    layout: Layout | None = None
    """None: one process, and each batch in one piece."""
    logs: Path | None = None
    """Folder for `metrics.jsonl`, TensorBoard and the curves; None keeps none."""
    hang_seconds: float = 1800.0
    """A step that takes longer counts as hung: the Watchdog writes its stacks down and ends the process, to be started
    again by torchrun or the scheduler."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a finished run leaves beside the trained model."""

    losses: list[float]
    """Mean cross-entropy per predicted token of each step, in nats; NaN for a step that was skipped."""
    seconds: float
    """Time inside steps, all attempts together, as far as checkpoints remember it."""
    waited: float
    """Time that this process waited between steps for checkpoints to be copied."""
    tokens: int
    """Ids predicted."""
    model: Transformer
    """The trained model; of a job of many processes only its shape, on the meta device."""
    read: Callable[[str], Tensor]
    """The value of a weight by its name, in the first process and until `scratch` goes: so a model that no process
    could hold is written file by file."""


class Source(Protocol):
    """Where batches come from; a pure function, so that nothing of it needs saving."""

    @property
    def length(self) -> int:
        """Ids per row."""
        ...

    @property
    def fingerprint(self) -> str:
        """Differs where the samples do: a run does not go on with other data than it began with."""
        ...

    def batch(self, first: int, size: int) -> Countable:
        """Samples `first` to `first + size - 1`, whatever was asked for before."""
        ...


def prepare() -> None:
    """Have torch add up in the same order every time: without it threads race in the embedding's gradient."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling fresh memory would find reads of what was never written, at the cost of writing everything twice.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


class Run:
    """The state of a run that moves from step to step, as far as a checkpoint holds it."""

    def __init__(self, spread: Spread, optimizer: Optimizer, source: Source, guard: Guard) -> None:
        self.spread, self.optimizer, self.source, self.guard = spread, optimizer, source, guard
        self.step = self.sample = self.tokens = 0
        """Steps done; the next sample; ids predicted."""
        self.seconds = self.waited = 0.0
        """Time inside steps; and of this process between them, for checkpoints."""
        self.losses: list[float] = []

    def tensors(self, *, frozen: bool = False) -> dict[str, Tensor]:
        """Weights and optimizer state by name, the same names under every layout.

        Weights that training does not change only with `frozen`: a run that goes on is given them again.
        """
        weights = {name: w for name, w in self.spread.weights().items() if frozen or w.requires_grad}
        state = {f"optimizer.{name}": value for name, value in self.optimizer.state().items()}
        return {f"model.{name}": weight for name, weight in weights.items()} | state

    def facts(self) -> dict[str, Any]:
        """Everything else, as plain JSON."""
        return {
            "fingerprint": self.source.fingerprint,
            "sample": self.sample,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "losses": self.losses,
            "guard": self.guard.state(),
        }

    def restore(self, checkpoints: Checkpoints) -> bool:
        """Go to the newest whole checkpoint; False when there is none."""
        facts = checkpoints.restore(self.tensors())
        if facts is None:
            return False
        if facts["fingerprint"] != self.source.fingerprint:
            raise UserError(
                f"the data has changed since the checkpoint in {checkpoints.folder} was written; "
                "bring the old data back, or delete the checkpoints to begin anew"
            )
        self.step, self.sample, self.tokens = facts["step"], facts["sample"], facts["tokens"]
        self.seconds, self.losses = facts["seconds"], facts["losses"]
        self.guard.load(facts["guard"])
        return True


def train(
    model: Transformer,
    source: Source,
    config: TrainConfig,
    *,
    scratch: Path,
    title: str,
    objective: Objective = next_token_loss,
    execution: Execution | None = None,
    guard: GuardConfig | None = None,
    seed: int | None = None,
) -> TrainResult:
    """Run all steps, from the last checkpoint in `scratch` if there is one. Changes `model`, and may shard it.

    The order of the data depends on the sample's number alone, and nothing in the model is random, so a run that was
    killed ends with the bits of one that was not. SIGTERM writes a checkpoint and leaves with Stopped. The model may
    come on the meta device: then each process makes only what it holds of it, drawn from `seed`.
    """
    execution = execution or Execution()
    watchdog = Watchdog(execution.hang_seconds, execution.logs, int(os.environ.get("RANK", "0")))
    with contextlib.closing(watchdog):
        rank, _ = start_processes()
        prepare()
        dtype = DTYPES[config.precision]
        spread = Spread(model, execution.layout, objective=objective, dtype=dtype, compiled=config.compiled)
        if any(weight.is_meta for weight in model.parameters()):
            if seed is None:
                raise ValueError("a model on the meta device needs a seed")
            with torch.device("meta"):
                values = Transformer(model.config).initial_values(seed)
            spread.fill(values)
        run = Run(spread, Optimizer(spread.weights(), config.optimizer), source, Guard(guard or GuardConfig()))
        checkpoints = Checkpoints(scratch / "checkpoints")
        if run.restore(checkpoints) and rank == 0:
            say(f"going on from step {run.step}")
        metrics = Metrics(execution.logs if rank == 0 else None, run.step)
        try:
            _steps(run, config, watchdog, checkpoints, metrics, title)
            trained, read = _trained(run, checkpoints)
        finally:
            checkpoints.close()
            metrics.close()
    if rank == 0 and execution.logs is not None:
        draw(execution.logs / "metrics.jsonl", execution.logs / "curves.png")
    return TrainResult(
        losses=run.losses, seconds=run.seconds, waited=run.waited, tokens=run.tokens, model=trained, read=read
    )


def _trained(run: Run, checkpoints: Checkpoints) -> tuple[Transformer, Callable[[str], Tensor]]:
    """The model, and how its weights are read: of many processes' shards through a last checkpoint."""
    model = run.spread.model
    end_float8(model)
    if run.spread.size == 1:
        return model, dict(model.named_parameters()).__getitem__
    checkpoints.save(run.step, run.tensors(frozen=True), run.facts())
    checkpoints.wait()
    with torch.device("meta"):
        shape = Transformer(model.config)
    sizes = {name: weight.shape for name, weight in shape.named_parameters()}

    def read(name: str) -> Tensor:
        value = torch.empty(sizes[name])
        checkpoints.read_alone(run.step, {f"model.{name}": value})
        return value

    return shape, read


def _steps(
    run: Run, config: TrainConfig, watchdog: Watchdog, checkpoints: Checkpoints, metrics: Metrics, title: str
) -> None:
    spread, model = run.spread, run.spread.model.config
    peak = matrix_rate(config.precision, seconds=0.1) * spread.size
    saved = time.monotonic()
    main = _is_main()
    with bar(title, total=config.steps, unit="steps", shown=main) as progress, _on_termination() as asked:
        progress.begin_at(run.step)
        while run.step < config.steps:
            watchdog.step_begins()
            began = time.monotonic()
            factor = rate(run.step, steps=config.steps, warmup=config.warmup)
            batch = run.source.batch(*spread.share(run.sample, config.batch))
            result = train_step(
                spread, run.optimizer, batch, factor, limit=run.guard.limit, clip=config.clip or math.inf
            )
            verdict = run.guard.judge(result)
            seconds = time.monotonic() - began
            _account(run, config, result, seconds)
            speed = tokens_per_second(batch.ids * spread.layout.data_parallel, seconds)
            used = utilisation(model, run.source.length, speed, peak)
            event = None if verdict == "good" else verdict
            metrics.write(
                run.step,
                loss=result.loss,
                norm=result.norm,
                rate=factor,
                seconds=round(seconds, 4),
                tokens_per_second=round(speed),
                mfu=round(used, 4),
                sample=run.sample,
                event=event,
            )
            progress.advance(1, f"loss {result.loss:.3f} · {speed:,.0f} tokens/s · MFU {100 * used:.0f} %")
            if verdict in ("back", "stop"):
                _go_back(run, checkpoints, progress, title, stop=verdict == "stop")
            # The first process's clock counts; anybody's signal does.
            due = main and run.guard.calm and time.monotonic() - saved > config.checkpoint_seconds
            flags = [float(bool(asked)), float(due), float(checkpoints.busy)]
            stopping, due, busy = (flag > 0 for flag in spread.totals(flags))
            if (stopping or (due and not busy)) and run.step < config.steps and run.guard.calm:
                copying = time.monotonic()
                checkpoints.save(run.step, run.tensors(), run.facts())
                saved = time.monotonic()
                run.waited += saved - copying
            if stopping:
                checkpoints.wait()
                raise Stopped(f"{title}: asked to stop; a checkpoint of step {run.step} is kept: start again to go on")


def _account(run: Run, config: TrainConfig, result: StepResult, seconds: float) -> None:
    run.step += 1
    run.sample += config.batch
    run.losses.append(result.loss)
    run.tokens += result.count
    run.seconds += seconds


def _go_back(run: Run, checkpoints: Checkpoints, progress: Any, title: str, *, stop: bool) -> None:
    """Take up the last good state, and pass over the data that was seen since."""
    if stop:
        raise UserError(
            f"{title}: the loss is no number or keeps jumping, the last time at step {run.step}; "
            "lower the learning rates, or look at the data from sample "
            f"{run.sample} backwards"
        )
    sample, returns, seconds, step = run.sample, run.guard.returns, run.seconds, run.step
    if not run.restore(checkpoints):
        if _is_main():
            say(f"{title}: bad steps up to {step}, and no checkpoint to go back to; going on with the next data")
        return
    run.sample, run.seconds, run.guard.returns = sample, seconds, returns
    if _is_main():
        say(f"{title}: bad steps up to {step}; went back to step {run.step}, and on with the data from sample {sample}")
    progress.begin_at(run.step)


def _is_main() -> bool:
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


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
    """One JSON object a line: step (from 1) and loss in nats per token, null for a step that was skipped."""
    lines = (
        json.dumps({"step": step, "loss": value if math.isfinite(value) else None})
        for step, value in enumerate(losses, start=1)
    )
    path.write_text("\n".join(lines) + "\n")


def compiler_available() -> bool:
    """Whether `torch.compile` can build for this machine's CPU: it needs a C++ compiler and Python's headers."""
    import sysconfig

    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return headers.exists() and any(shutil.which(name) for name in ("g++", "clang++"))
