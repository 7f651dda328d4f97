"""Two times: the wall clock's, and progress time, which runs slower while the cluster is throttled."""

from __future__ import annotations


class Clock:
    """Seconds since the first day. A job of an hour ends after an hour of progress time."""

    __slots__ = ("now", "progress", "speed")

    def __init__(self) -> None:
        self.now, self.progress, self.speed = 0.0, 0.0, 1.0

    def advance(self, to: float) -> None:
        """Go to a later moment of the wall clock at the present speed."""
        if to > self.now:
            self.progress += (to - self.now) * self.speed
            self.now = to

    def when(self, progress: float) -> float:
        """The wall clock at a moment of progress time, if the speed stays as it is."""
        return self.now + (progress - self.progress) / self.speed
