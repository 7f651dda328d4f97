"""One response on its way, whoever waits for it: computed in a task of its own, kept, and told to all who listen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import zlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from ayllu.serve.engines.engine import DrawnToken, EngineEnded
from ayllu.serve.errors import BUSY, FAILED, ApiError
from ayllu.serve.queueing.turns import QueueFull
from ayllu.serve.responses.events import EventWriter, Sent
from ayllu.serve.responses.hosted.answer import HostedAnswer
from ayllu.serve.responses.resource import ended, failure, usage
from ayllu.serve.state.items import Item, Missing
from ayllu.serve.state.keeper import Keeper
from ayllu.serve.state.store import KeptResponse
from ayllu.serve.turn.answer import Answer
from ayllu.serve.turn.events import End, Event

log = logging.getLogger("uvicorn.error")

FINAL = {"completed": "completed", "incomplete": "incomplete", "failed": "failed", "cancelled": "incomplete"}
"""The event that ends a response of each status: the types of OpenAI's client have none for one that was cancelled."""


class NoAnswer:
    """Stands for an answer that is not computed."""

    tokens = cached = 0

    def __init__(self, prompt_tokens: int) -> None:
        self.prompt_tokens = prompt_tokens

    async def events(self) -> AsyncGenerator[Event]:
        """Its end."""
        yield End(reason="stop")


@dataclass(frozen=True, kw_only=True)
class ResponseJob:
    """What is to be computed, and what is done with it."""

    kept: KeptResponse
    past: Sequence[Item]
    """What was said before."""
    given: Sequence[Item]
    """The items of this request."""
    answer: Answer | HostedAnswer | NoAnswer
    obfuscate: bool = False
    stored: bool = True
    streamed: bool = False
    """Whether its events are kept with it, so that they can be asked for later."""
    told: Callable[[Sequence[DrawnToken]], list[dict[str, Any]]] | None = None


class ResponseRun:
    """A response while it is computed; `start` it once."""

    def __init__(self, job: ResponseJob, keeper: Keeper) -> None:
        self.kept = job.kept
        self.body: dict[str, Any] = job.kept.body
        self.error: ApiError | None = None
        """What is told to a client that waits for nothing but the end, where there is no answer."""
        self._job, self._keeper = job, keeper
        self._writer = EventWriter(obfuscate=job.obfuscate, told=job.told)
        self._sent: list[Sent] = []
        self._more = asyncio.Event()
        self._started = self._ending = self._done = False
        self._wanted = True
        self._task: asyncio.Task[None] | None = None

    @property
    def resource(self) -> dict[str, Any]:
        """The response as it is now."""
        return {**self.body, "output": self._writer.output}

    @property
    def said(self) -> list[Item]:
        """What was given and what came of it, for a conversation."""
        return [*self._job.given, *self._writer.output]

    @property
    def history(self) -> list[Item]:
        """What was said up to its end."""
        return [*self._job.past, *self.said]

    async def begin(self) -> None:
        """Keep that it has begun, then compute it. Raises Missing, Locked and ApiError, and does nothing then."""
        if self._job.stored:
            begin = self._keeper.store().begin
            kept = asyncio.ensure_future(
                self._keeper.run(begin, self.kept, self._job.given, server=self._keeper.server)
            )
            try:
                await asyncio.shield(kept)
            except asyncio.CancelledError:
                # What is on disk has to end, whoever has left meanwhile.
                self._wanted = False
                kept.add_done_callback(self._start_if_kept)
                raise
        self.start()

    def _start_if_kept(self, kept: asyncio.Future[Any]) -> None:
        if not kept.cancelled() and kept.exception() is None:
            self.start()

    def start(self) -> None:
        """Compute it."""
        self._task = asyncio.create_task(self._compute())

    def cancel(self) -> None:
        """Stop the computing; it ends as cancelled. Whose end is being kept ends as that: it may be kept already."""
        self._wanted = False
        if self._task is not None and self._started and not self._ending:
            self._task.cancel()

    async def abandon(self) -> None:
        """Stop the computing and say nothing, so that another server may take it over."""
        if not self._done:
            self._job = replace(self._job, stored=False)
            self.cancel()
            await self.wait()

    def when_done(self, tell: Callable[[], object]) -> None:
        """Call `tell` at its end."""
        assert self._task is not None
        self._task.add_done_callback(lambda _: tell())

    async def wait(self) -> None:
        """Return at its end."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def events(self, after: int = -1) -> AsyncGenerator[Sent]:
        """The events behind the number `after`, and those to come until the last."""
        place = max(after + 1, 0)
        while True:
            while place < len(self._sent):
                yield self._sent[place]
                place += 1
            if self._done:
                return
            await self._more.wait()

    async def _compute(self) -> None:
        status, fields = "failed", dict[str, Any]()
        self._started = True
        try:
            if not self._wanted:  # a task that is cancelled before its first step would never end in our words
                raise asyncio.CancelledError
            status, fields = await self._written()
        except QueueFull:
            self.error, fields = ApiError(503, BUSY), {"error": failure(BUSY)}
        except EngineEnded as error:
            self.error, fields = ApiError(503, str(error)), {"error": failure(str(error))}
        except ApiError as error:
            self.error, fields = error, {"error": failure(error.message)}
        except asyncio.CancelledError:
            status = "cancelled"
        except Exception:
            log.exception("an answer failed on its way")
            self.error, fields = ApiError(500, FAILED), {"error": failure(FAILED)}
        try:
            await self._end(status, fields)
        except ApiError as error:
            # What is not kept was not answered.
            self.error = error
            self.body = ended(self.body, "failed", error=failure(error.message))
            self._send(self._writer.about("failed", self.body))
        finally:
            self._done = True
            self._more.set()

    async def _written(self) -> tuple[str, dict[str, Any]]:
        """Compute the answer; gives the status in which it ends, and the fields that say why."""
        answer = self._job.answer
        self._send(self._writer.about("created", self.body))
        self._send(self._writer.about(self.body["status"], self.body))
        reason = "stop"
        async with aclosing(answer.events()) as events:
            async for event in events:
                if self.body["status"] == "queued":
                    await self._keeper.run(self._keeper.store().start, self.kept.id)
                    self.body = {**self.body, "status": "in_progress"}
                    self._send(self._writer.about("in_progress", self.body))
                if isinstance(event, End):
                    reason = event.reason
                    for sent in self._writer.rest(event):
                        self._send(sent)
                    continue
                for sent in self._writer.write(event):
                    self._send(sent)
        if reason == "length":
            return "incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}
        if reason == "content_filter":
            return "incomplete", {"incomplete_details": {"reason": "content_filter"}}
        return "completed", {}

    async def _end(self, status: str, fields: dict[str, Any]) -> None:
        """Keep how it ended, and only then say so."""
        self._ending = True
        answer = self._job.answer
        if not isinstance(answer, NoAnswer):
            for sent in self._writer.close(status):
                self._send(sent)
        counts = usage(read=answer.prompt_tokens, cached=answer.cached, written=answer.tokens)
        body = ended(self.body, status, usage=counts, **fields)
        last = self._writer.about(FINAL[status], body)
        if not await asyncio.shield(self._keep(status, body, [*self._sent, last])):
            # Somebody else has cancelled or deleted it.
            body = ended(body, "cancelled", incomplete_details=None)
            last = {**last, **self._writer.about(FINAL["cancelled"], body)}
            last["sequence_number"] -= 1
        self.body = body
        self._send(last)

    async def _keep(self, status: str, body: dict[str, Any], events: list[Sent]) -> bool:
        """Keep the end; False where the response is there no more, or was cancelled."""
        said = self.said if status in ("completed", "incomplete") else []
        if self._job.stored:
            kept = replace(self.kept, status=status, body=body)
            written = pack(events) if self._job.streamed else None
            finish = self._keeper.store().finish
            return await self._keeper.run(finish, kept, self._writer.output, events=written, said=said)
        if self.kept.conversation is not None and said:
            with contextlib.suppress(Missing):  # it was deleted meanwhile
                await self._keeper.run(self._keeper.store().add_items, self.kept.conversation, said)
        return True

    def _send(self, event: Sent) -> None:
        self._sent.append(event)
        self._more.set()
        self._more = asyncio.Event()


def pack(events: Sequence[Sent]) -> bytes:
    """Events as they are kept."""
    return zlib.compress(json.dumps(list(events), separators=(",", ":")).encode())


def unpack(kept: bytes) -> list[Sent]:
    """Events that were kept."""
    return list(json.loads(zlib.decompress(kept)))
