"""From minutes to a model: the rule that turns the one dial into a shape, a number of steps and a prediction.

1. The speed of this machine in training is estimated from matmuls of half a second.
2. The model is the largest rung of the ladder that this speed lets see `TOKENS_PER_PARAMETER` tokens per parameter
   within the budget; the smallest rung where none does.
3. A few real steps of that model are timed, and the number of steps follows: budget over time per step.
4. Time and bits per byte are predicted from steps, parameters and tokens, before the run.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ayllu.data.tokens.loader import Loader
from ayllu.data.tokens.pack import TokensHeader
from ayllu.lab.progress import bar
from ayllu.model.config import ModelConfig, RopeScaling
from ayllu.model.transformer import Transformer
from ayllu.train.distributed.parallel_model import ParallelModel
from ayllu.train.flops import training_flops
from ayllu.train.ladder import BATCH, COMPILE_MINUTES, EFFICIENCY, choose_shape, reshape
from ayllu.train.loop import TrainConfig, make_deterministic
from ayllu.train.machine import compiler_available, dtype_of, fastest_precision, matmul_speed
from ayllu.train.optimizer import Optimizer, OptimizerConfig
from ayllu.train.step import train_step

LEAST_STEPS = 20
"""Fewer are no training, however short the time."""
FINETUNE_LR_SCALE = 0.3
"""Peak learning rates of finetuning, as a share of those of pretraining."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What is given instead of following from the budget; None follows from it."""

    lr: float | None = None
    """Peak learning rate of the matrices (Muon); that of everything else keeps its ratio to it."""
    width: int | None = None
    depth: int | None = None
    """Transformer blocks."""
    batch: int | None = None
    """Rows of a step."""

    def optimizer(self) -> OptimizerConfig:
        """Peak learning rates."""
        usual = OptimizerConfig()
        if self.lr is None:
            return usual
        return replace(usual, muon_lr=self.lr, adam_lr=usual.adam_lr * self.lr / usual.muon_lr)


@dataclass(frozen=True, kw_only=True)
class BudgetPlan:
    """What a budget buys on this machine."""

    model: ModelConfig
    train: TrainConfig
    tokens_per_second: float
    """Ids that go in per second, measured on this model."""
    seconds: float
    """Predicted time of all steps."""
    bits_per_byte: float | None
    """Predicted held-out bits per byte of the largest source, where the tokens say how many bytes they stand for."""

    def finetune(self, share: float, *, rows: int) -> TrainConfig:
        """A run on other rows: `share` of the time, at most three passes, at a third of the learning rates."""
        steps = max(min(round(self.train.steps * share), 3 * rows // self.train.batch), 10)
        optimizer = replace(
            self.train.optimizer,
            muon_lr=self.train.optimizer.muon_lr * FINETUNE_LR_SCALE,
            adam_lr=self.train.optimizer.adam_lr * FINETUNE_LR_SCALE,
        )
        return replace(self.train, steps=steps, warmup=max(steps // 10, 1), optimizer=optimizer)

    def write(self, path: Path) -> None:
        """Keep the plan as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> BudgetPlan:
        """What `write` kept."""
        fields = json.loads(path.read_text())
        model, train = fields.pop("model"), fields.pop("train")
        optimizer = train.pop("optimizer")
        optimizer["adam_betas"] = tuple(optimizer["adam_betas"])
        scaling = model.pop("rope_scaling")
        return cls(
            model=ModelConfig(rope_scaling=RopeScaling(**scaling) if scaling else None, **model),
            train=TrainConfig(optimizer=OptimizerConfig(**optimizer), **train),
            **fields,
        )


def plan_budget(
    loader: Loader,
    header: TokensHeader,
    *,
    minutes: float,
    seed: int,
    speed: float | None = None,
    chosen: Chosen | None = None,
) -> BudgetPlan:
    """Choose and measure. `speed` (tokens per second of the chosen model) takes the place of measuring."""
    chosen = chosen or Chosen()
    batch = chosen.batch or BATCH
    compiled = minutes >= COMPILE_MINUTES and compiler_available()
    precision = fastest_precision()
    training_speed = matmul_speed(precision) * EFFICIENCY[compiled]
    model = choose_shape(rate=training_speed, seconds=60 * minutes, vocabulary=header.vocabulary, length=loader.length)
    model = reshape(model, width=chosen.width, depth=chosen.depth)
    trial = TrainConfig(steps=1000, batch=batch, warmup=10, precision=precision, compiled=compiled)
    measured = speed or measure(model, loader, trial, seed=seed)
    steps = max(round(60 * minutes * measured / (batch * loader.length)), LEAST_STEPS)
    tokens = steps * batch * loader.length
    rows = max(header.sources.values(), key=lambda source: source.rows)
    bytes_seen = tokens * rows.bytes / (rows.rows * loader.length)
    return BudgetPlan(
        model=model,
        train=TrainConfig(
            steps=steps,
            batch=batch,
            warmup=max(min(steps // 10, 100), 1),
            precision=precision,
            compiled=compiled,
            optimizer=chosen.optimizer(),
        ),
        tokens_per_second=measured,
        seconds=tokens / measured,
        bits_per_byte=round(predict_bits_per_byte(model.matrix_parameters, bytes_seen), 3) if bytes_seen else None,
    )


def compiling_pays(model: ModelConfig, *, length: int, tokens: int, precision: str, speed: float | None = None) -> bool:
    """Whether a run of so many tokens takes one process long enough for its code to be compiled first, where it can be.

    How long follows from `speed` (tokens per second), or from this machine's matmuls.
    """
    if not speed:
        speed = EFFICIENCY[False] * matmul_speed(precision, seconds=0.1) / training_flops(model, length)
    return tokens / speed >= 60 * COMPILE_MINUTES and compiler_available()


def measure(model_config: ModelConfig, loader: Loader, config: TrainConfig, *, seed: int, steps: int = 9) -> float:
    """Tokens per second of real steps: the median of `steps`, after compiling and warming up."""
    model = Transformer(model_config)
    model.initialise(seed)
    make_deterministic()
    parallel = ParallelModel(model, None, dtype=dtype_of(config.precision), compiled=config.compiled)
    optimizer = Optimizer(parallel.weights(), config.optimizer)
    times = []
    with bar("measuring this machine", total=steps + 2, unit="steps") as progress:
        for step in range(steps + 2):
            began = time.perf_counter()
            train_step(parallel, optimizer, loader.batch(step * config.batch, config.batch), 0.01)
            times.append(time.perf_counter() - began)
            progress.advance()
    return config.batch * loader.length / statistics.median(times[2:])


def predict_bits_per_byte(parameters: int, bytes_seen: float) -> float:
    """Held-out bits per byte of everyday English after one run of the recipe: E + A/N^a + B/D^b.

    N matrix parameters, D bytes of text seen. The constants are fitted on the runs listed in docs/log.md.
    """
    return 0.95 + 12.0 / parameters**0.30 + 416.0 / bytes_seen**0.45
