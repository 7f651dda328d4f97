"""Streams an engine's answers to asynchronous callers, each in its turn."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from ayllu.serve.access.request import current_line, spend_tokens
from ayllu.serve.engines.engine import Delivers, Engine, GenerationRequest, TextChunk
from ayllu.serve.errors import ApiError
from ayllu.serve.operations.course import Course, Watcher
from ayllu.serve.queueing.arrived import Arrived, Bell
from ayllu.serve.queueing.holding import MOST_UNREAD, Holding
from ayllu.serve.queueing.pace import Pace
from ayllu.serve.queueing.turns import QueueFull, Turns

if TYPE_CHECKING:
    from ayllu.safety.filter.guard import Guard

PROMPT_COST = 0.25
"""Of a token that is read, where one that is written costs 1: about what engines take for them on a processor."""


class EngineQueue:
    """Streams an engine's answers to asynchronous callers, at most `engine.parallel` at a time."""

    def __init__(self, engine: Engine, *, longest: int = 64) -> None:
        self.engine = engine
        self.turns = Turns(engine.parallel, longest=longest)
        self._threads = ThreadPoolExecutor(engine.parallel, thread_name_prefix="engine")
        self._under_way: set[threading.Event] = set()
        self._bell: Bell | None = None
        self.pace = Pace()
        self.model = ""
        """What watchers call it."""
        self.watchers: list[Watcher] = []
        self.keep_text = False
        """Whether watchers are told what was said."""
        self.guard: Guard | None = None
        """The safety filter of requests and answers."""

    @property
    def running(self) -> int:
        """How many answers the engine is computing, those of callers who have just left included."""
        return len(self._under_way)

    def full(self, client: str) -> bool:
        """Whether one more caller of `client`, or of the key that is asking, would be turned away."""
        return self.turns.full(current_line(client))

    def seconds_to_wait(self, client: str) -> float:
        """About how long one more caller of `client` would wait for a turn, by the answers before."""
        client = current_line(client)
        return self.pace.wait(self.turns.waiting_of(client) + 1, places=self.turns.part_of(client))

    async def stream(
        self, request: GenerationRequest, *, client: str = "", seconds: float = 600
    ) -> AsyncGenerator[TextChunk]:
        """Wait for a turn, then yield the answer's chunks; the last one has a `finish_reason`.

        Closing the iterator (`contextlib.aclosing`), or cancelling the task that runs it, stops the computing within a
        few tokens (a twentieth of a second, in which an engine's process hears of it), or at the next piece of the
        prompt. An answer that takes longer than `seconds` is cut there, as by
        `length`. QueueFull when too many wait or no turn comes in that time; ValueError when the prompt does not fit,
        ApiError when a grammar cannot be followed.
        Where the request came with a key, the turn and the tokens are the key's.
        """
        client = current_line(client)
        course = Course(request=request, model=self.model)
        said: list[str] = []
        try:
            accepts = getattr(self.engine, "accepts", None)
            holder = Holding(request, resumes=accepts is not None and accepts.resumes)
            await self._turn(client, seconds, holder)
            course.started = time.monotonic()
            spend_tokens(len(request.prompt))
            self.turns.charge(client, PROMPT_COST * len(request.prompt))
            async with aclosing(self._whole(holder, client, seconds)) as chunks:
                async for chunk in chunks:
                    course.came(chunk.tokens)
                    spend_tokens(chunk.tokens)
                    self.turns.charge(client, chunk.tokens)
                    if self.keep_text:
                        said.append(chunk.text)
                    course.finish_reason = chunk.finish_reason or course.finish_reason
                    yield chunk
        except GeneratorExit:
            course.finish_reason = "stop"  # the caller has what it wants; one that has left is cancelled
            raise
        except QueueFull:
            course.finish_reason = "refused"
            raise
        except Exception:
            course.finish_reason = "error"
            raise
        finally:
            course.ended = time.monotonic()
            if self.keep_text:
                course.said = self.engine.tokenizer.decode(list(request.prompt)), "".join(said)
            for watcher in self.watchers:
                watcher(course)

    async def _turn(self, client: str, seconds: float, holder: Holding, *, again: bool = False) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.turns.take(client, holder.kept, again=again)
        except TimeoutError:
            raise QueueFull from None

    async def _whole(self, holder: Holding, client: str, seconds: float) -> AsyncGenerator[TextChunk]:
        """The chunks of one whose turn it is; where it gives its turn back, it goes on with the next."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            async with aclosing(self._computed(holder, client, end - loop.time())) as chunks:
                async for chunk in chunks:
                    yield chunk
                    if chunk.finish_reason is not None:
                        return
            try:
                await self._turn(client, end - loop.time(), holder, again=True)
            except QueueFull:
                yield TextChunk(text="", finish_reason="length")
                return

    async def _computed(self, holder: Holding, client: str, seconds: float) -> AsyncGenerator[TextChunk]:
        """The chunks of a turn, which ends with the computing; the last says why, but where it is given back."""
        loop = asyncio.get_running_loop()
        cancelled = threading.Event()
        request = holder.begin(cancelled)
        arrived = Arrived(self._bell_of(loop), most=MOST_UNREAD, full=holder.give_back)
        started = loop.time()

        def compute() -> None:
            try:
                if isinstance(self.engine, Delivers):
                    self.engine.deliver(request, cancelled, arrived.put)
                else:
                    for chunk in self.engine.generate(request, cancelled):
                        arrived.put(chunk)
                arrived.put(None)
            except Exception as error:
                arrived.put(error)

        def done(_: object) -> None:
            holder.seconds += loop.time() - started
            if not holder.goes_on(cut=loop.time() >= until):
                self.pace.ended(holder.seconds)
            self._under_way.discard(cancelled)
            self.turns.give(client, holder.kept)

        finish_reason = None
        self._under_way.add(cancelled)
        until = loop.time() + seconds
        deadline = loop.call_at(until, cancelled.set)
        # The turn ends when the thread has left the engine, not when the caller has left us.
        loop.run_in_executor(self._threads, compute).add_done_callback(done)
        try:
            while (chunk := await arrived.get()) is not None:
                if isinstance(chunk, ValueError) and request.grammar is not None:
                    # Some grammars show only where they are followed that they are too wide.
                    raise ApiError(400, f"what is asked of the answer is too much for it: {chunk}") from chunk
                if isinstance(chunk, BaseException):
                    raise chunk
                finish_reason = chunk.finish_reason
                if not holder.came(chunk):
                    self.turns.keep(client, holder.kept)
                # What is found in the cache of a later turn, the answer itself has put there.
                yield replace(chunk, cached=0) if request.written else chunk
            if finish_reason is None and not holder.goes_on(cut=loop.time() >= until):
                yield TextChunk(text="", finish_reason="length")
        finally:
            deadline.cancel()
            cancelled.set()

    def _bell_of(self, loop: asyncio.AbstractEventLoop) -> Bell:
        if self._bell is None or self._bell.loop is not loop:
            self._bell = Bell(loop)
        return self._bell

    def close(self) -> None:
        """Stop what is under way at the next token and free the engine."""
        for cancelled in self._under_way:
            cancelled.set()
        self._threads.shutdown(wait=True)
        self.engine.close()
