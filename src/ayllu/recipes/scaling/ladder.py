"""Which sizes a ladder has, and how many tokens each sees, so that all of them fit into a budget."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ayllu.model.config import ModelConfig, llama_feed_forward
from ayllu.train.flops import training_flops

FEWEST_RUNGS, MOST_RUNGS = 4, 12
"""Three rungs make a law, and the one above them is predicted."""
HEADS = (32, 16)
"""Widths of a head that a ladder may have; a rung of L layers has L heads, so that depth and width grow together."""
ENOUGH = 4.0
"""Tokens per parameter that the largest rung must be able to see within LARGEST of the budget for the wider head; what
is measured on everyday English for `cria` (`ayllu.train.ladder`)."""
LARGEST = 0.4
"""Share of the budget that the largest rung takes, about."""
BATCH = 8
"""Rows of a step: small models learn more from many small steps."""
FRACTIONS = (0.3, 0.55, 1.0)
"""Token counts of a rung, as shares of its most."""
DECAY = 0.2
"""Share of each token count in which the learning rate decays (Hu et al., arXiv:2404.06395: a tenth suffices)."""
GROWTH = 0.5
"""Most tokens of a rung ~ parameters^GROWTH: the counts of neighbours overlap, so that size and data can be told apart,
and yet the largest rung lies beyond the others in both."""
LEAST_STEPS = 60
"""Of the smallest token count of a rung."""
SHARE_FOR_REST = 0.15
"""Of the budget for everything but steps: compiling nothing, but measuring speeds and held-out text."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One size, and what it is trained on."""

    model: ModelConfig
    parameters: int
    """Those that each token is multiplied with."""
    steps: tuple[int, ...]
    """Of each token count, smallest first."""
    tokens: tuple[int, ...]
    flops: tuple[float, ...]
    """Of each token count alone."""
    tokens_per_second: float
    seconds: float
    """Expected time of all steps: one run whose rate stays, and a decay from it for each token count."""

    @property
    def stable(self) -> tuple[int, ...]:
        """Steps of each token count after which its decay begins."""
        return tuple(steps - max(round(DECAY * steps), 1) for steps in self.steps)


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """All rungs, smallest first."""

    rungs: tuple[Rung, ...]
    batch: int
    length: int
    precision: str

    def write(self, path: Path) -> None:
        """Keep the ladder as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Ladder:
        """What `write` kept."""
        fields = json.loads(path.read_text())
        return cls(rungs=tuple(_rung(row) for row in fields.pop("rungs")), **fields)


def _rung(row: dict[str, Any]) -> Rung:
    lists: dict[str, Any] = {name: tuple(row.pop(name)) for name in ("steps", "tokens", "flops")}
    return Rung(model=ModelConfig(**row.pop("model")), **lists, **row)


def shape(rung: int, *, head: int, vocabulary: int, length: int) -> ModelConfig:
    """The shape of rung 0, 1, …: two more layers than its number, and a head of width for each layer."""
    layers = rung + 2
    return ModelConfig(
        vocabulary=vocabulary,
        layers=layers,
        width=head * layers,
        heads=layers,
        kv_heads=layers,
        feed_forward=llama_feed_forward(head * layers, multiple_of=32),
        context=length,
        tied=True,
    )


def wide_enough(top: ModelConfig, speed: float, *, seconds: float) -> bool:
    """Whether the largest rung, at `speed` tokens per second, sees enough tokens in its share of the budget."""
    return LARGEST * seconds * speed >= ENOUGH * top.matrix_parameters


def build_ladder(
    shapes: list[ModelConfig], speeds: list[float], *, seconds: float, length: int, precision: str
) -> Ladder:
    """The rungs with as many tokens as `seconds` of steps allow; `speeds` are tokens per second of each shape."""
    sizes = [config.matrix_parameters for config in shapes]
    # Of the largest rung's most tokens: what each rung passes over, all its decays together.
    shares = [(size / sizes[-1]) ** GROWTH for size in sizes]
    passes = 1 + DECAY * (sum(FRACTIONS) - max(FRACTIONS))
    most = (
        seconds
        * (1 - SHARE_FOR_REST)
        / sum(passes * share / speed for share, speed in zip(shares, speeds, strict=True))
    )
    rungs = []
    for config, speed, share in zip(shapes, speeds, shares, strict=True):
        top = max(round(most * share / (BATCH * length)), round(LEAST_STEPS / FRACTIONS[0]))
        steps = tuple(round(top * fraction) for fraction in FRACTIONS)
        tokens = tuple(count * BATCH * length for count in steps)
        rungs.append(
            Rung(
                model=config,
                parameters=config.matrix_parameters,
                steps=steps,
                tokens=tokens,
                flops=tuple(float(count * training_flops(config, length)) for count in tokens),
                tokens_per_second=round(speed, 1),
                seconds=round(passes * tokens[-1] / speed, 1),
            )
        )
    return Ladder(rungs=tuple(rungs), batch=BATCH, length=length, precision=precision)
