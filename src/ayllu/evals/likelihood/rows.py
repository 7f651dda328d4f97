"""What a model is given: a beginning once, and what goes on from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Row:
    """A beginning and what goes on from it, each branch for itself. The beginning may be empty."""

    beginning: Sequence[int]
    branches: Sequence[Sequence[int]] = ()

    @property
    def length(self) -> int:
        """Tokens that the model sees."""
        return len(self.beginning) + sum(len(branch) for branch in self.branches)

    @property
    def starts(self) -> list[int]:
        """Where in the row each branch begins."""
        return list(accumulate((len(branch) for branch in self.branches[:-1]), initial=len(self.beginning)))

    @property
    def positions(self) -> list[int]:
        """The place of each token in its own text."""
        first = len(self.beginning)
        return [*range(first), *(first + at for branch in self.branches for at in range(len(branch)))]
