"""One answer on its way: from the queue's chunks to events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from ayllu.serve.engines.engine import DrawnToken, GenerationRequest
from ayllu.serve.queue import EngineQueue
from ayllu.serve.turn.drawn import DrawnText
from ayllu.serve.turn.events import End, Event, Read, Reason
from ayllu.serve.turn.filtered import Filtered
from ayllu.serve.turn.reader import Reader


class Answer:
    """What the engine computes for one request, read by `reader`; `events` is run once."""

    def __init__(
        self, queue: EngineQueue, request: GenerationRequest, reader: Reader, *, client: str, seconds: float
    ) -> None:
        self.request = request
        self._queue, self._reader = queue, reader
        self._client, self._seconds = client, seconds
        self.tokens = 0
        """Ids computed so far."""
        self.cached = 0
        """Ids of the prompt that needed no computing."""

    @property
    def prompt_tokens(self) -> int:
        """Ids of the prompt."""
        return len(self.request.prompt)

    async def events(self) -> AsyncGenerator[Event]:
        """The answer as it comes; the last event, and only that, is an `End`.

        Closing the iterator stops the computing, as does a call where only one is wanted. QueueFull when no turn comes.
        """
        told: list[DrawnToken] = []
        tokens, ended = DrawnText(self._queue.engine.tokenizer, self.request.shown), False
        filtered = Filtered(self._queue.guard, told=self.request.grammar is None, asked=self._reader.asked)

        def with_drawn(event: Event) -> Event:
            found = replace(event, drawn=tuple(told)) if told else event
            told.clear()
            return found

        async with aclosing(self._queue.stream(self.request, client=self._client, seconds=self._seconds)) as chunks:
            async for chunk in chunks:
                self.tokens += chunk.tokens
                self.cached += chunk.cached
                if chunk.read:
                    yield Read(drawn=chunk.read)
                events = list(filtered.pass_on(self._reader.push(chunk.text)))
                if self.request.logprobs is not None:
                    told += tokens.push(chunk.drawn, chunk.text[: len(chunk.text) - filtered.cut])
                ended = ended or chunk.finish_reason == "stop"
                for event in events:
                    yield with_drawn(event)
                if filtered.stopped:
                    return
                if self._reader.done:
                    ended = True
                    break
        for event in filtered.pass_on(self._reader.close(), last=True):
            yield with_drawn(event)
        if filtered.stopped:
            return
        if not self.request.stop:
            told += tokens.flush()
        by_itself: Reason = "tool_calls" if self._reader.calls else "stop"
        yield with_drawn(End(reason=by_itself if ended else "length"))


class NoAnswer(Answer):
    """An answer of no ids: nothing is computed but what is told of the prompt."""

    async def events(self) -> AsyncGenerator[Event]:
        if not self.request.prompt_logprobs:
            yield End(reason="length")
            return
        # The prompt has to be read to say how likely it is; the id that follows it is told to nobody.
        queue = self._queue
        async with aclosing(queue.stream(self.request, client=self._client, seconds=self._seconds)) as chunks:
            async for chunk in chunks:
                if chunk.read:
                    yield Read(drawn=chunk.read)
                if chunk.tokens or chunk.finish_reason:
                    break
        yield End(reason="length")
