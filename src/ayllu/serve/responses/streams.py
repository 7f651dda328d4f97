"""Events as lines of an HTTP answer, with comments between them where nothing comes for long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from ayllu.serve.completions.layout import DONE, LINE_ENDS

STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
KEEP_ALIVE = ": keep-alive\n\n"
"""A comment: clients read events of names that they do not know as one of the others."""
KEEP_ALIVE_SECONDS = 15.0


def named_event(data: dict[str, Any]) -> str:
    """One server-sent event under the name of its type."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).translate(LINE_ENDS)
    return f"event: {data['type']}\ndata: {text}\n\n"


async def as_lines(events: AsyncGenerator[dict[str, Any]], *, done: str = DONE) -> AsyncGenerator[str]:
    """The events as text, then `done`."""
    async with aclosing(events):
        async for event in _with_pauses(events, KEEP_ALIVE_SECONDS):
            yield KEEP_ALIVE if event is None else named_event(event)
    if done:
        yield done


async def _with_pauses(events: AsyncGenerator[dict[str, Any]], seconds: float) -> AsyncGenerator[dict[str, Any] | None]:
    """The events, and None each time that none has come for `seconds`."""
    following: asyncio.Future[dict[str, Any] | None] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(_next(events))
            await asyncio.wait([following], timeout=seconds)
            if not following.done():
                yield None
                continue
            event, following = following.result(), None
            if event is None:
                return
            yield event
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _next(events: AsyncGenerator[dict[str, Any]]) -> dict[str, Any] | None:
    return await anext(events, None)
