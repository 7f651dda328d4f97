"""What an answer may go on with: what followed the last time its newest ids stood side by side.

Proposals are computed in one step with the newest id, and kept as far as they are what is drawn (prompt lookup,
A. Saxena 2023), so that they change no id, however unlikely they are.
"""

from __future__ import annotations

from collections.abc import Sequence

SIDE_BY_SIDE = 3
"""Ids that have to stand there again."""
MOST, MOST_SURE = 3, 7
"""Ids proposed at once: kernels take four rows in one pass over the weights, hardly longer than for one. Each of four
more takes half of what a row of four does, so that most of them have to come true."""
MEMORY = 0.8
"""How much of what is known of earlier proposals counts beside the newest one."""
HOPE, LEAST, SURE = 0.5, 0.15, 0.7
"""The share of proposals that come true before any was made, below which none are made, and from which more are."""
REST = 16
"""Ids after which another is tried where they did not."""


class Lookup:
    """The proposals for one answer, and whether they are worth it."""

    def __init__(self) -> None:
        self._behind: dict[tuple[int, ...], int] = {}
        self._known = SIDE_BY_SIDE
        self._share, self._resting = HOPE, 0

    @property
    def sure(self) -> bool:
        """Whether most came true of late."""
        return self._share >= SURE

    def propose(self, ids: Sequence[int], most: int) -> list[int]:
        """At most so many ids that may follow; `ids` have only grown since the last time."""
        for end in range(self._known, len(ids)):
            self._behind[tuple(ids[end - SIDE_BY_SIDE : end])] = end
        self._known = max(self._known, len(ids))
        if self._resting:
            self._resting -= 1
            return []
        found = self._behind.get(tuple(ids[-SIDE_BY_SIDE:]))
        if found is None:
            return []
        round_ = len(ids) - found  # what goes round in a circle is proposed round and round
        return [ids[found + at % round_] for at in range(min(most, MOST_SURE if self.sure else MOST))]

    def learn(self, proposed: int, taken: int) -> None:
        """Of `proposed` ids the first `taken` were drawn."""
        self._share = MEMORY * self._share + (1 - MEMORY) * taken / proposed
        if self._share < LEAST:
            self._resting, self._share = REST, LEAST
