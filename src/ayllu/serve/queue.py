"""Many callers, one engine: whose turn it is, and the bridge between the engine's threads and the gateway's loop."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

from ayllu.serve.engines.engine import Engine, GenerationRequest, TextChunk


class QueueFull(Exception):
    """So many callers are waiting that one more would only wait in vain."""


class Turns:
    """Hands out `places` turns. Callers of one client wait in line; clients are served one after the other in rounds.

    So a client with a hundred requests delays another's single one by one turn, not by a hundred.
    """

    def __init__(self, places: int, *, longest: int) -> None:
        self._free = places
        self._longest = longest
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many callers have no turn yet."""
        return sum(len(line) for line in self._waiting.values())

    @property
    def full(self) -> bool:
        """Whether one more caller would be turned away."""
        return not self._free and self.waiting >= self._longest

    async def take(self, client: str) -> None:
        """Return when it is the caller's turn; QueueFull when too many wait. `give` has to follow."""
        if self._free:
            self._free -= 1
            return
        if self.full:
            raise QueueFull
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(client, turn)
            else:
                self.give()
            raise

    def give(self) -> None:
        """End a turn: the next client's first caller has it now."""
        while self._waiting:
            client, line = next(iter(self._waiting.items()))
            turn = line.popleft()
            self._waiting.move_to_end(client)
            if not line:
                del self._waiting[client]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

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
    def full(self) -> bool:
        """Whether one more caller would be turned away."""
        return self.turns.full

    async def stream(
        self, request: GenerationRequest, *, client: str = "", seconds: float = 600
    ) -> AsyncGenerator[TextChunk]:
        """Wait for a turn, then yield the answer's chunks; the last one has a `finish_reason`.

        Closing the iterator (`contextlib.aclosing`), or cancelling the task that runs it, stops the computing at the
        next token. An answer that takes longer than `seconds` is cut there, as by `length`. QueueFull when too many
        wait or no turn comes in that time; ValueError when the prompt does not fit.
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
            self.turns.give()

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
