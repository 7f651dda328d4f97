"""The bridge between an engine's thread and the gateway's loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ayllu.serve.engines.decode import joined
from ayllu.serve.engines.engine import TextChunk


class Bell:
    """Wakes a loop for what threads have for it: once, however many ring before it looks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._due: deque[Callable[[], None]] = deque()
        self._rung = False

    def ring(self, work: Callable[[], None]) -> None:
        """Have `work` done in the loop."""
        self._due.append(work)
        if not self._rung:
            self._rung = True
            self.loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._rung = False  # before the look: whoever comes after it rings again
        while self._due:
            self._due.popleft()()


class Arrived:
    """What an engine's thread hands to the loop; chunks that are there together come as one, to leave in one write."""

    def __init__(self, bell: Bell, *, most: int, full: Callable[[], None]) -> None:
        """`full` is called in the engine's thread for what comes while more than `most` tokens lie here."""
        self._bell, self._most, self._full = bell, most, full
        self._put = self._taken = 0
        """Tokens, each counted by one side alone."""
        self._parts: deque[TextChunk | BaseException | None] = deque()
        self._any = asyncio.Event()
        self._woken = False
        """Whether the loop has been told of what is there: it is told once, however much comes before it looks."""

    def put(self, part: TextChunk | BaseException | None) -> None:
        """From the engine's thread."""
        self._parts.append(part)
        if isinstance(part, TextChunk):
            self._put += part.tokens
            if self._put - self._taken > self._most:
                self._full()
        if not self._woken:
            self._woken = True
            self._bell.ring(self._any.set)

    async def get(self) -> TextChunk | BaseException | None:
        """The next part, once there is one."""
        while True:
            self._any.clear()
            self._woken = False  # before the look: what comes after it wakes us
            if self._parts:
                break
            await self._any.wait()
        part = self._parts.popleft()
        if not isinstance(part, TextChunk):
            return part
        chunks = [part]
        while self._parts and isinstance(following := self._parts[0], TextChunk):
            chunks.append(following)
            self._parts.popleft()
        self._taken += sum(chunk.tokens for chunk in chunks)
        return chunks[0] if len(chunks) == 1 else joined(chunks)
