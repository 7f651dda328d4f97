"""Many callers, one engine: whose turn it is, and the bridge between the engine's threads and the gateway's loop."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

from ayllu.serve.engines.engine import Engine, GenerationRequest, TextChunk


class QueueFull(Exception):
    """So many callers are waiting that one more would only wait in vain."""


MOST_WAITING = 1024
"""Callers of all clients together."""


class Turns:
    """Hands out `places` turns. Callers of one client wait in line; clients are served one after the other in rounds.

    A client may hold half of the places that others do not hold, rounded up, so that there is one for the next client
    at once, however much the first asks; and a line that is full is full for its own client only.
    """

    def __init__(self, places: int, *, longest: int) -> None:
        self._free = places
        self._longest = longest
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many callers have no turn yet."""
        return sum(len(line) for line in self._waiting.values())

    def full(self, client: str) -> bool:
        """Whether one more caller of `client` would be turned away."""
        if self._may_hold_one_more(client):
            return False
        return len(self._waiting.get(client, ())) >= self._longest or self.waiting >= MOST_WAITING

    async def take(self, client: str) -> None:
        """Return when it is the caller's turn; QueueFull when too many wait. `give` has to follow."""
        if self._may_hold_one_more(client):
            self._hold(client)
            return
        if self.full(client):
            raise QueueFull
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(client, turn)
            else:
                self.give(client)
            raise

    def give(self, client: str) -> None:
        """End a turn of `client`: whoever may have one now, has it."""
        self._free += 1
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]
        while (following := next(filter(self._may_hold_one_more, self._waiting), None)) is not None:
            line = self._waiting[following]
            turn = line.popleft()
            self._waiting.move_to_end(following)
            if not line:
                del self._waiting[following]
            if not turn.done():
                self._hold(following)
                turn.set_result(None)

    def _may_hold_one_more(self, client: str) -> bool:
        held = self._held[client]
        return self._free > 0 and held + 1 <= (held + self._free + 1) // 2

    def _hold(self, client: str) -> None:
        self._free -= 1
        self._held[client] += 1

    def _leave(self, client: str, turn: asyncio.Future[None]) -> None:
        line = self._waiting.get(client, deque())
        if turn in line:
            line.remove(turn)
            if not line:
                del self._waiting[client]


class EngineQueue:
    """Streams an engine's answers to asynchronous callers, at most `engine.parallel` at a time."""

    def __init__(self, engine: Engine, *, longest: int = 64) -> None:
        self.engine = engine
        self.turns = Turns(engine.parallel, longest=longest)
        self._threads = ThreadPoolExecutor(engine.parallel, thread_name_prefix="engine")
        self._under_way: set[threading.Event] = set()

    @property
    def running(self) -> int:
        """How many answers the engine is computing, those of callers who have just left included."""
        return len(self._under_way)

    def full(self, client: str) -> bool:
        """Whether one more caller of `client` would be turned away."""
        return self.turns.full(client)

    async def stream(
        self, request: GenerationRequest, *, client: str = "", seconds: float = 600
    ) -> AsyncGenerator[TextChunk]:
        """Wait for a turn, then yield the answer's chunks; the last one has a `finish_reason`.

        Closing the iterator (`contextlib.aclosing`), or cancelling the task that runs it, stops the computing at the
        next token, or the next piece of the prompt. An answer that takes longer than `seconds` is cut there, as by
        `length`. QueueFull when too many wait or no turn comes in that time; ValueError when the prompt does not fit.
        """
        try:
            async with asyncio.timeout(seconds):
                await self.turns.take(client)
        except TimeoutError:
            raise QueueFull from None
        loop = asyncio.get_running_loop()
        cancelled = threading.Event()
        arrived: asyncio.Queue[TextChunk | BaseException | None] = asyncio.Queue()

        def compute() -> None:
            try:
                for chunk in self.engine.generate(request, cancelled):
                    loop.call_soon_threadsafe(arrived.put_nowait, chunk)
                loop.call_soon_threadsafe(arrived.put_nowait, None)
            except Exception as error:
                loop.call_soon_threadsafe(arrived.put_nowait, error)

        def done(_: object) -> None:
            self._under_way.discard(cancelled)
            self.turns.give(client)

        finish_reason = None
        self._under_way.add(cancelled)
        deadline = loop.call_later(seconds, cancelled.set)
        # The turn ends when the thread has left the engine, not when the caller has left us.
        loop.run_in_executor(self._threads, compute).add_done_callback(done)
        try:
            while (chunk := await arrived.get()) is not None:
                if isinstance(chunk, BaseException):
                    raise chunk
                finish_reason = chunk.finish_reason
                yield chunk
            if finish_reason is None:
                yield TextChunk(text="", finish_reason="length")
        finally:
            deadline.cancel()
            cancelled.set()

    def close(self) -> None:
        """Stop what is under way at the next token and free the engine."""
        for cancelled in self._under_way:
            cancelled.set()
        self._threads.shutdown(wait=True)
        self.engine.close()
