"""What is to be trained: a model, its batches and its tokens, named by the user or drawn from a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ayllu.fleet.experts import ExpertModel
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.fleet.catalogue import Pool, Precision
    from ayllu.model.config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What is to be trained."""

    name: str
    model: ModelConfig
    sequence: int
    """Tokens per sequence."""
    global_batch: int
    """Sequences per optimizer step."""
    tokens: float
    """Tokens of the whole run."""
    precision: Precision = "bf16"
    adapter_rank: int = 0
    """Rank of adapters (LoRA) beside every matrix of a block, all else frozen; 0: all weights are trained."""

    def __post_init__(self) -> None:
        if not 0 < self.tokens < math.inf or self.global_batch < 1 or self.sequence < 1:
            raise UserError(
                f"plan: {self.tokens:g} tokens in batches of {self.global_batch} sequences of {self.sequence}; "
                "all three must be above 0 and finite"
            )
        if self.adapter_rank < 0:
            raise UserError(f"plan: the rank of adapters is {self.adapter_rank}; it must be at least 1")
        if self.adapter_rank and isinstance(self.model, ExpertModel):
            raise UserError(f"plan: {self.name} is a mixture of experts; adapters are planned beside dense models only")
        if self.sequence > self.model.context:
            raise UserError(
                f"plan: sequences of {self.sequence} are longer than {self.name}'s context of {self.model.context}"
            )

    @property
    def steps(self) -> float:
        return self.tokens / (self.global_batch * self.sequence)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a recipe trains on an accelerator in its minutes."""

    model: ModelConfig
    sequence: int
    """Tokens per row."""
    global_batch: int
    """Rows per step."""
    minutes: float
    """Of training: the steps follow from it and from the predicted time of one."""
    note: str
    """What the plan leaves out, in a sentence."""


RecipePlan = Callable[["Pool", "Precision", float | None], Trained]
"""Pool, precision and minutes (None for the recipe's own) to what the recipe trains there."""


def default_batch(model: ModelConfig, sequence: int) -> int:
    """Sequences per step where the user names none: 16M tokens from 100B parameters on, 4M from 3B, 1M below (Llama
    3's practice)."""
    tokens = 2**24 if model.parameters > 1e11 else 2**22 if model.parameters > 3e9 else 2**20
    return max(1, tokens // sequence)


def parameters_seen(model: ModelConfig) -> int:
    """Parameters that one token passes: all of a dense model."""
    return model.active_parameters if isinstance(model, ExpertModel) else model.parameters
