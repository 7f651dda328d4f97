"""An answer in which the model calls tools of the server: several answers of the engine, one after the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from ayllu.serve.responses.hosted.tools import MadeFile, Ran, Toolbox
from ayllu.serve.state.items import Item
from ayllu.serve.turn.answer import Answer
from ayllu.serve.turn.events import CallArguments, CallEnded, CallStarted, End, Event, Words

REQUEST = "mcp_approval_request"
MOST_CALLS = 16
"""Of hosted tools in one response, where the client gives no `max_tool_calls`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HostedBegan:
    """A call of a hosted tool has begun."""

    item: Item


@dataclass(frozen=True, kw_only=True, slots=True)
class HostedDone:
    """It has ended."""

    item: Item
    files: Sequence[MadeFile] = ()
    """What it has written."""


HostedEvent = Event | HostedBegan | HostedDone


class HostedAnswer:
    """Runs what was approved and what the model calls of `names`, and lets it go on; `events` is run once."""

    def __init__(
        self,
        first: Answer,
        toolbox: Toolbox,
        names: frozenset[str],
        again: Callable[[Sequence[Item]], Awaitable[Answer]],
        *,
        most: int = MOST_CALLS,
    ) -> None:
        """`again` makes the next answer of what was said in this response so far."""
        self._answer, self._toolbox, self._names, self._again = first, toolbox, names, again
        self._most, self._inside = most, False
        self._before: dict[str, int] = {"tokens": 0, "cached": 0, "prompt_tokens": 0}

    @property
    def tokens(self) -> int:
        """Ids computed so far."""
        return self._sum("tokens")

    @property
    def cached(self) -> int:
        """Ids of the prompts that needed no computing."""
        return self._sum("cached")

    @property
    def prompt_tokens(self) -> int:
        """Ids of the prompts together."""
        return self._sum("prompt_tokens")

    async def events(self) -> AsyncGenerator[HostedEvent]:
        """All answers as they come; the last event, and only that, is an `End`."""
        said: list[Item] = []
        left = self._most
        for item in self._toolbox.opening:
            yield HostedBegan(item=item)
            said.append(item)
            yield HostedDone(item=item)
        for item in self._toolbox.approved:
            yield HostedBegan(item=item)
            ran = await self._toolbox.run(item)
            said.append(ran.item)
            yield HostedDone(item=ran.item, files=ran.files)
        if self._toolbox.approved:
            self._answer = await self._again(said)  # the first one knows nothing of what these calls gave
        while True:
            calls: list[CallEnded] = []
            words, others, end = "", False, End(reason="stop")
            async with aclosing(self._answer.events()) as events:
                async for event in events:
                    if isinstance(event, End):
                        end = event
                    elif self._is_hosted(event):
                        if isinstance(event, CallEnded):
                            calls.append(event)
                    else:
                        words += event.text if isinstance(event, Words) else ""
                        others = others or isinstance(event, CallStarted)
                        yield event
            if end.reason == "content_filter":
                yield end
                return
            if words.strip():
                part = {"type": "output_text", "text": words}
                said.append({"type": "message", "role": "assistant", "content": [part]})
            for call in calls[:left]:
                item = self._toolbox.begin(call)
                yield HostedBegan(item=item)
                asked = item["type"] == REQUEST
                others = others or asked
                ran = Ran(item=item) if asked else await self._toolbox.run(item)
                said.append(ran.item)
                yield HostedDone(item=ran.item, files=ran.files)
            left -= len(calls)
            # A client answers its own calls and what it is asked first; and at the limit the model is not asked again.
            if not calls or others or left <= 0 or end.reason == "length":
                yield end
                return
            self._before = {name: self._sum(name) for name in self._before}
            self._answer = await self._again(said)

    def _is_hosted(self, event: Event) -> bool:
        if isinstance(event, CallStarted):
            self._inside = event.name in self._names
        return self._inside and isinstance(event, CallStarted | CallArguments | CallEnded)

    def _sum(self, name: str) -> int:
        found: Any = getattr(self._answer, name)
        return self._before[name] + int(found)
