"""The training loop: batches in, weights out, the same bits after a kill, on one process or on many.

Shapes: B batch, T time.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor

from ayllu.lab.error import Stopped, UserError
from ayllu.lab.progress import Bar, bar, say
from ayllu.model.transformer import Transformer
from ayllu.train.checkpoint import Checkpoints
from ayllu.train.distributed.float8 import end_float8
from ayllu.train.distributed.layout import Layout
from ayllu.train.distributed.parallel_model import ParallelModel
from ayllu.train.distributed.processes import start_processes
from ayllu.train.flops import tokens_per_second, utilisation
from ayllu.train.loss_guard import LossGuard, LossGuardConfig, Verdict
from ayllu.train.machine import dtype_of, matmul_speed
from ayllu.train.metrics import Metrics, draw
from ayllu.train.objectives.next_token import Countable, Objective, next_token_loss
from ayllu.train.optimizer import Optimizer, OptimizerConfig
from ayllu.train.schedule import lr_scale
from ayllu.train.step import StepResult, train_step
from ayllu.train.stretch import FOLDER
from ayllu.train.stretch.keep import Keeper
from ayllu.train.watchdog import Watchdog


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What a run does: how many steps of which size, at which learning rates."""

    steps: int
    batch: int
    """Sequences per step."""
    warmup: int
    """Steps of linear warm-up."""
    stable: int = 0
    """Steps until the learning rate begins to decay."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    precision: str = "bf16"
    """Type of the matmuls: bf16 or float32; the weights stay float32."""
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
    stretch: str | None
    """Why the run's last steps were not kept, where that was asked for; None where they were, or nobody asked."""
    read: Callable[[str], Tensor]
    """The value of a weight by its name, in the first process and until `scratch` goes: so a model that no process
    could hold is written file by file."""


class BatchSource(Protocol):
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


def make_deterministic() -> None:
    """Have torch add up in the same order every time: without it threads race in the embedding's gradient."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling fresh memory would find reads of what was never written, at the cost of writing everything twice.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def train(
    model: Transformer,
    source: BatchSource,
    config: TrainConfig,
    *,
    scratch: Path,
    title: str,
    objective: Objective = next_token_loss,
    execution: Execution | None = None,
    guard: LossGuardConfig | None = None,
    seed: int | None = None,
    keep_last: bool = False,
    stretch: Path | None = None,
) -> TrainResult:
    """Run all steps, from the last checkpoint in `scratch` if there is one. Changes `model`, and may shard it.

    The order of the data depends on the sample's number alone, and nothing in the model is random, so a run that was
    killed ends with the bits of one that was not. SIGTERM writes a checkpoint and leaves with Stopped. The model may
    come on the meta device: then each process makes only what it holds of it, drawn from `seed`. With `keep_last` the
    state after the last step is kept as a checkpoint, from which a run of more steps goes on. In the new folder
    `stretch` the last steps are kept with all that they need to be taken again (`ayllu.train.stretch`), of a run on one
    process.
    """
    execution = execution or Execution()
    # Before the processes meet: one that never comes is a hang too.
    watchdog = Watchdog(execution.hang_seconds, execution.logs, int(os.environ.get("RANK", "0")))
    with contextlib.closing(watchdog):
        rank, _ = start_processes()
        make_deterministic()
        parallel = _parallel_model(model, config, execution.layout, objective, seed)
        optimizer = Optimizer(parallel.weights(), config.optimizer)
        state = TrainState(parallel, optimizer, source, LossGuard(guard or LossGuardConfig()))
        checkpoints = Checkpoints(scratch / "checkpoints")
        if state.restore(checkpoints) and rank == 0:
            say(f"going on from step {state.step}")
        metrics = Metrics(execution.logs if rank == 0 else None, state.step)
        alone = parallel.size == 1 and execution.layout is None
        keeper = None
        if stretch is not None and alone:
            told = asdict(config)
            keeper = Keeper(scratch / FOLDER, steps=config.steps, batch=config.batch, config=told)
        try:
            began = state.step
            _Loop(state, config, checkpoints, metrics, title, keeper).run(watchdog)
            if keep_last and state.step > began:
                checkpoints.save(state.step, state.tensors(), state.facts())
            trained, read = _trained(state, checkpoints)
        finally:
            checkpoints.close()
            metrics.close()
    if rank == 0 and execution.logs is not None:
        draw(execution.logs / "metrics.jsonl", execution.logs / "curves.png")
    untold = None
    if stretch is not None:
        untold = keeper.finish(state.losses, stretch) if keeper else "it was trained under a layout"
    return TrainResult(
        losses=state.losses,
        seconds=state.seconds,
        waited=state.waited,
        tokens=state.tokens,
        model=trained,
        stretch=untold,
        read=read,
    )


def _parallel_model(
    model: Transformer, config: TrainConfig, layout: Layout | None, objective: Objective, seed: int | None
) -> ParallelModel:
    """`model` under `layout`, with weights."""
    meta = any(weight.is_meta for weight in model.parameters())
    if meta and seed is None:
        raise ValueError("a model on the meta device needs a seed")
    dtype = dtype_of(config.precision)
    parallel = ParallelModel(model, layout, objective=objective, dtype=dtype, compiled=config.compiled)
    if meta and seed is not None:
        with torch.device("meta"):
            # A fresh shape: that of `model` is sharded by now, and values are drawn whole.
            values = Transformer(model.config).initial_values(seed)
        parallel.fill(values)
    return parallel


@functools.cache
def _measured_peak(precision: str) -> float:
    """FLOP/s of this process's matmuls, measured once however many runs it makes."""
    return matmul_speed(precision, seconds=0.1)


class _Loop:
    """Step after step, each judged, written down and, now and then, kept."""

    def __init__(
        self,
        state: TrainState,
        config: TrainConfig,
        checkpoints: Checkpoints,
        metrics: Metrics,
        title: str,
        keeper: Keeper | None,
    ) -> None:
        self.state, self.config, self.checkpoints, self.metrics, self.title = state, config, checkpoints, metrics, title
        self._keeper = keeper
        self._main = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
        self._peak = _measured_peak(config.precision) * state.parallel.size
        """FLOP/s that MFU is a share of: measured matmuls, of all processes together."""
        self._saved = time.monotonic()

    def run(self, watchdog: Watchdog) -> None:
        """All steps that are left. Raises Stopped when asked to leave, UserError when the losses stay bad."""
        with bar(self.title, total=self.config.steps, unit="steps", shown=self._main) as progress:
            progress.begin_at(self.state.step)
            with _on_termination() as asked:
                while self.state.step < self.config.steps:
                    watchdog.step_begins()
                    verdict = self._step(progress)
                    if verdict == "stop":
                        raise self._given_up()
                    if verdict == "back":
                        self._go_back(progress)
                    self._checkpoint(asked)

    def _step(self, progress: Bar) -> Verdict:
        """One step of training: take this process's samples, update the weights, say how it went."""
        state, config, parallel = self.state, self.config, self.state.parallel
        began = time.monotonic()
        scale = lr_scale(state.step, steps=config.steps, warmup=config.warmup, stable=config.stable)
        batch = state.source.batch(*parallel.local_samples(state.sample, config.batch))
        if self._keeper:
            self._keeper.before(state.step, state.sample, state.tensors, batch)
        result = train_step(
            parallel, state.optimizer, batch, scale, limit=state.guard.limit, clip=config.clip or math.inf
        )
        verdict = state.guard.judge(result)
        seconds = time.monotonic() - began
        state.advance(result, config.batch, seconds)
        # A process sees its own rows only, and all have as many.
        speed = tokens_per_second(batch.ids * parallel.layout.data_parallel, seconds)
        mfu = utilisation(parallel.model.config, state.source.length, speed, self._peak)
        self.metrics.write(
            state.step,
            loss=result.loss,
            norm=result.norm,
            rate=scale,
            seconds=round(seconds, 4),
            tokens_per_second=round(speed),
            mfu=round(mfu, 4),
            sample=state.sample,
            event=None if verdict == "good" else verdict,
        )
        progress.advance(1, f"loss {result.loss:.3f} · {speed:,.0f} tokens/s · MFU {100 * mfu:.0f} %")
        return verdict

    def _go_back(self, progress: Bar) -> None:
        """Take up the last good state, and pass over the data that was seen since."""
        state, step = self.state, self.state.step
        # What does not go back: the data, or it would do the same again; the time; and how often this happened.
        sample, returns, seconds = state.sample, state.guard.returns, state.seconds
        if not state.restore(self.checkpoints):
            self._say(f"bad steps up to {step}, and no checkpoint to go back to; going on with the next data")
            return
        state.sample, state.seconds, state.guard.returns = sample, seconds, returns
        self._say(f"bad steps up to {step}; went back to step {state.step}, and on with the data from sample {sample}")
        progress.begin_at(state.step)

    def _given_up(self) -> UserError:
        return UserError(
            f"{self.title}: the loss is no number or keeps jumping, the last time at step {self.state.step}; "
            f"lower the learning rates, or look at the data from sample {self.state.sample} backwards"
        )

    def _checkpoint(self, asked: list[int]) -> None:
        """Keep the state when it is time to, or when somebody is `asked` (by a signal) to leave, who then leaves."""
        state, guard = self.state, self.state.guard
        # The first process's clock counts; anybody's signal does. What is decided on sums is decided by all alike.
        due = self._main and guard.calm and time.monotonic() - self._saved > self.config.checkpoint_seconds
        flags = [float(bool(asked)), float(due), float(self.checkpoints.busy)]
        stopping, due, busy = (flag > 0 for flag in state.parallel.all_reduce_sums(flags))
        if (stopping or (due and not busy)) and state.step < self.config.steps and guard.calm:
            copying = time.monotonic()
            self.checkpoints.save(state.step, state.tensors(), state.facts())
            self._saved = time.monotonic()
            state.waited += self._saved - copying
        if stopping:
            self.checkpoints.wait()
            raise Stopped(
                f"{self.title}: asked to stop; a checkpoint of step {state.step} is kept: start again to go on"
            )

    def _say(self, text: str) -> None:
        if self._main:
            say(f"{self.title}: {text}")


class TrainState:
    """What moves from step to step, as far as a checkpoint holds it."""

    def __init__(self, parallel: ParallelModel, optimizer: Optimizer, source: BatchSource, guard: LossGuard) -> None:
        self.parallel, self.optimizer, self.source, self.guard = parallel, optimizer, source, guard
        self.step = self.sample = self.tokens = 0
        """Steps done; the next sample; ids predicted."""
        self.seconds = self.waited = 0.0
        """Time inside steps; and of this process between them, for checkpoints."""
        self.losses: list[float] = []

    def advance(self, result: StepResult, samples: int, seconds: float) -> None:
        """Count a step that was done."""
        self.step += 1
        self.sample += samples
        self.losses.append(result.loss)
        self.tokens += result.count
        self.seconds += seconds

    def tensors(self, *, frozen: bool = False) -> dict[str, Tensor]:
        """Weights and optimizer state by name, the same names under every layout.

        Weights that training does not change only with `frozen`: a run that goes on is given them again.
        """
        weights = {name: w for name, w in self.parallel.weights().items() if frozen or w.requires_grad}
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


def _trained(state: TrainState, checkpoints: Checkpoints) -> tuple[Transformer, Callable[[str], Tensor]]:
    """The model, and how its weights are read: of many processes' shards through a last checkpoint."""
    model = state.parallel.model
    end_float8(model)
    if state.parallel.size == 1:
        return model, dict(model.named_parameters()).__getitem__
    checkpoints.save(state.step, state.tensors(frozen=True), state.facts())
    checkpoints.wait()
    with torch.device("meta"):
        shape = Transformer(model.config)
    sizes = {name: weight.shape for name, weight in shape.named_parameters()}

    def read(name: str) -> Tensor:
        value = torch.empty(sizes[name])
        checkpoints.read_alone(state.step, {f"model.{name}": value})
        return value

    return shape, read


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
