"""What to do about losses that are no numbers, and losses that jump.

A bad step is not taken: weights and optimizer stay, bit for bit. When bad steps follow each other, the state itself is
bad: the run goes back to its last checkpoint, passes over the data that it was fed since, and goes on. When that keeps
happening, it stops and says so. All of it depends on sums over all processes, so they decide alike.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

from ayllu.train.step import StepResult


@dataclass(frozen=True, kw_only=True)
class LossGuardConfig:
    """What counts as a bad step, and how many are too many."""

    window: int = 128
    """Good losses that the next one is compared with."""
    fewest: int = 32
    """Good losses needed before any is called a jump."""
    deviations: float = 6.0
    """A loss so many standard deviations above the window's mean is a jump."""
    share: float = 0.2
    """And it lies this share of the mean above it: where losses hardly vary, small steps are no jumps."""
    patience: int = 5
    """Bad steps in a row after which the run goes back."""
    returns: int = 3
    """How often it may go back between two checkpoints' worth of good steps before it stops."""


Verdict = Literal["good", "skipped", "back", "stop"]


class LossGuard:
    """Watches the losses of a run; its state belongs into the checkpoint."""

    def __init__(self, config: LossGuardConfig) -> None:
        self.config = config
        self.losses: deque[float] = deque(maxlen=config.window)
        self.bad = 0
        """Bad steps in a row."""
        self.returns = 0
        """How often the run went back since the window was last filled with good steps."""
        self._good = 0

    @property
    def limit(self) -> float:
        """Losses above it are jumps."""
        if len(self.losses) < self.config.fewest:
            return math.inf
        mean = math.fsum(self.losses) / len(self.losses)
        variance = math.fsum((loss - mean) ** 2 for loss in self.losses) / len(self.losses)
        # Both must be passed. Alone, deviations would call small steps jumps where losses hardly vary, and the share
        # would call a normal step one where they vary much.
        return mean + max(self.config.deviations * math.sqrt(variance), self.config.share * abs(mean))

    @property
    def calm(self) -> bool:
        """Whether the state is good to be kept."""
        return self.bad == 0

    def judge(self, result: StepResult) -> Verdict:
        """Take in what a step did and say how to go on."""
        if not result.skipped:
            # Only good losses: a jump in the window would raise the limit for those that follow it.
            self.losses.append(result.loss)
            self.bad = 0
            self._good += 1
            if self._good >= self.config.window:
                self.returns = 0
            return "good"
        self.bad += 1
        self._good = 0
        if self.bad < self.config.patience:
            return "skipped"
        # One bad step may be bad data. So many in a row, each on other data, mean that the state itself is bad: weights
        # or moments that went wrong before the loss showed it. Skipping does not mend that, going back does.
        self.bad = 0
        self.returns += 1
        return "stop" if self.returns > self.config.returns else "back"

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"losses": list(self.losses), "bad": self.bad, "returns": self.returns, "good": self._good}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.losses = deque(state["losses"], maxlen=self.config.window)
        self.bad, self.returns, self._good = state["bad"], state["returns"], state["good"]
