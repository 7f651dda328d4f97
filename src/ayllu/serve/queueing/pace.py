"""How long the next caller may have to wait, by how long answers took of late."""

from __future__ import annotations

USUAL_SECONDS, USUAL_WEIGHT = 5.0, 0.1
"""How long an answer takes where none was given yet, and how much each one changes that."""


class Pace:
    """How long an answer takes, all its turns together: one that gives turns back is computed in several."""

    def __init__(self) -> None:
        self._usual = USUAL_SECONDS

    def ended(self, seconds: float) -> None:
        """An answer has ended, of which so many seconds were computing."""
        self._usual += USUAL_WEIGHT * (seconds - self._usual)

    def wait(self, before: int, *, places: float) -> float:
        """Seconds until `before` answers are computed, so many `places` at a time."""
        return before * self._usual / places
