"""From the queue to the client: an answer as one body, or as server-sent events while it is computed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import Request

from ayllu.serve.engines.engine import GenerationRequest, TextChunk
from ayllu.serve.errors import BUSY, FAILED, ApiError
from ayllu.serve.queue import EngineQueue, QueueFull
from ayllu.serve.responses import DONE, ResponseFormat, as_event

log = logging.getLogger("uvicorn.error")


class Generation:
    """The engine's work for one HTTP request, a choice for each `GenerationRequest`, and the counts of its tokens."""

    def __init__(
        self, queue: EngineQueue, requests: Sequence[GenerationRequest], *, client: str, seconds: float
    ) -> None:
        self._queue, self._requests = queue, requests
        self._client, self._seconds = client, seconds
        self._generated = 0

    @property
    def choices(self) -> int:
        """How many texts are continued."""
        return len(self._requests)

    async def chunks(self) -> AsyncGenerator[tuple[int, TextChunk]]:
        """All chunks, each with the number of its choice; QueueFull when no turn comes."""
        for index, request in enumerate(self._requests):
            async with aclosing(self._queue.stream(request, client=self._client, seconds=self._seconds)) as chunks:
                async for chunk in chunks:
                    self._generated += chunk.tokens
                    yield index, chunk

    def usage(self) -> dict[str, int]:
        """Tokens read and written so far."""
        read = sum(len(request.prompt) for request in self._requests)
        return {
            "prompt_tokens": read,
            "completion_tokens": self._generated,
            "total_tokens": read + self._generated,
        }


async def answer_whole(form: ResponseFormat, generation: Generation, http: Request) -> dict[str, Any]:
    """The body of an answer that is sent when it is complete; the computing stops when the client hangs up.

    Raises ApiError when the engine is busy for too long or fails.
    """
    texts = [""] * generation.choices
    reasons: list[str | None] = [None] * generation.choices

    async def collect() -> None:
        async with aclosing(generation.chunks()) as chunks:
            async for index, chunk in chunks:
                texts[index] += chunk.text
                reasons[index] = chunk.finish_reason

    try:
        await _until_disconnected(http, collect)
    except QueueFull:
        raise ApiError(503, BUSY) from None
    except Exception:
        # Answered here: left to the framework, the server would close a connection that the client takes for open.
        log.exception("an answer failed on its way")
        raise ApiError(500, FAILED) from None
    choices = [form.choice(index, texts[index], reasons[index]) for index in range(generation.choices)]
    return form.body(choices, generation.usage())


async def answer_stream(form: ResponseFormat, generation: Generation, *, usage: bool) -> AsyncGenerator[str]:
    """Server-sent events: the chunks, then `[DONE]`; a problem on the way is an event with OpenAI's error body.

    With `usage` the last event has the counts of tokens, and those before it say that there are none yet.
    """
    nothing: dict[str, Any] = {"usage": None} if usage else {}
    started = -1
    try:
        async with aclosing(generation.chunks()) as chunks:
            async for index, chunk in chunks:
                if index != started and (first := form.first_delta(index)) is not None:
                    yield as_event(form.chunk([first], **nothing))
                started = index
                if chunk.text:
                    yield as_event(form.chunk([form.delta(index, chunk.text, None)], **nothing))
                if chunk.finish_reason:
                    yield as_event(form.chunk([form.delta(index, "", chunk.finish_reason)], **nothing))
    except QueueFull:
        yield as_event(ApiError(503, BUSY).body)
        return
    except Exception:
        log.exception("an answer failed on its way")
        yield as_event(ApiError(500, FAILED).body)
        return
    if usage:
        yield as_event(form.chunk([], usage=generation.usage()))
    yield DONE


async def _until_disconnected(http: Request, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do `work`, but stop it when the client hangs up."""

    async def disconnected() -> None:
        while (await http.receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.ensure_future(work()), asyncio.ensure_future(disconnected())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
