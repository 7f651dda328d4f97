"""From the queue to the client: an answer as one body, or as server-sent events while it is computed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request

from ayllu.serve.completions.generation import Generation
from ayllu.serve.completions.layout import DONE, Choice, Layout, as_event
from ayllu.serve.engines.engine import EngineEnded
from ayllu.serve.errors import BUSY, FAILED, ApiError
from ayllu.serve.queueing.turns import QueueFull

log = logging.getLogger("uvicorn.error")


async def answer_whole(layout: Layout, generation: Generation, http: Request, *, best: int) -> dict[str, Any]:
    """The body of an answer that is sent when it is complete; the computing stops when the client hangs up.

    Of the choices of each prompt only the `best` are told. Raises ApiError when the engine is busy for too long or
    fails.
    """
    choices = [layout.choice(index) for index in range(generation.choices)]

    async def collect() -> None:
        async with aclosing(generation.events()) as events:
            async for index, event in events:
                choices[index].add(event)

    try:
        await _until_disconnected(http, collect)
    except QueueFull:
        raise ApiError(503, BUSY) from None
    except EngineEnded as error:
        raise ApiError(503, str(error)) from None
    except ApiError:
        raise
    except Exception:
        # Answered here: left to the framework, the server would close a connection that the client takes for open.
        log.exception("an answer failed on its way")
        raise ApiError(500, FAILED) from None
    chosen = _best(choices, generation.each, best)
    return layout.body([choice.whole(index) for index, choice in enumerate(chosen)], generation.usage())


def _best(choices: Sequence[Choice], each: int, best: int) -> list[Choice]:
    """Of every `each` choices the `best` by the mean of their log-probabilities, the likeliest first."""
    if best == each:
        return list(choices)
    found: list[Choice] = []
    for start in range(0, len(choices), each):
        ranked = sorted(choices[start : start + each], key=lambda choice: choice.likelihood, reverse=True)
        found += ranked[:best]
    return found


async def answer_stream(layout: Layout, generation: Generation, *, usage: bool) -> AsyncGenerator[str]:
    """Server-sent events: the chunks, then `[DONE]`; a problem on the way is an event with OpenAI's error body.

    With `usage` the last event has the counts of tokens, and those before it say that there are none yet.
    """
    nothing: dict[str, Any] = {"usage": None} if usage else {}
    choices = [layout.choice(index) for index in range(generation.choices)]
    try:
        async with aclosing(generation.events()) as events:
            async for index, event in events:
                for delta in choices[index].deltas(event):
                    yield as_event(layout.chunk([delta], **nothing))
    except QueueFull:
        yield as_event(ApiError(503, BUSY).body)
        return
    except EngineEnded as error:
        yield as_event(ApiError(503, str(error)).body)
        return
    except ApiError as error:
        yield as_event(error.body)
        return
    except Exception:
        log.exception("an answer failed on its way")
        yield as_event(ApiError(500, FAILED).body)
        return
    if usage:
        yield as_event(layout.chunk([], usage=generation.usage()))
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
