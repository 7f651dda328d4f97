"""A lock for those who share an engine step by step."""

from __future__ import annotations

import threading
from collections import deque


class TurnLock:
    """A lock that is given to those who wait in the order in which they came.

    Python's own may be taken again by the thread that has just released it: one answer would hold up all others.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._held = False

    def __enter__(self) -> None:
        with self._guard:
            if not self._held:
                self._held = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()

    def __exit__(self, *_: object) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False
