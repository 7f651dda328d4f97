"""The engine's work for one HTTP request: several answers at once, and the counts of their tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from ayllu.serve.turn.answer import Answer
from ayllu.serve.turn.events import Event

Arrived = tuple[int, Event | BaseException | None]


class Generation:
    """A choice for each `Answer`; every `each` of them continue the same prompt."""

    def __init__(self, answers: Sequence[Answer], *, each: int = 1, together: int = 1) -> None:
        """At most `together` are computed at once."""
        self._answers, self.each, self._together = answers, each, max(together, 1)

    @property
    def choices(self) -> int:
        """How many answers there are."""
        return len(self._answers)

    async def events(self) -> AsyncGenerator[tuple[int, Event]]:
        """All events as they come, each with the number of its choice; QueueFull when no turn comes."""
        if len(self._answers) == 1:
            async with aclosing(self._answers[0].events()) as events:
                async for one in events:
                    yield 0, one
            return
        arrived: asyncio.Queue[Arrived] = asyncio.Queue()
        places = asyncio.Semaphore(self._together)
        read = [asyncio.Event() for _ in range(0, len(self._answers), self.each)]
        tasks = [
            asyncio.ensure_future(self._run(index, places, read[index // self.each], arrived))
            for index in range(len(self._answers))
        ]
        try:
            left = len(tasks)
            while left:
                index, event = await arrived.get()
                if isinstance(event, BaseException):
                    raise event
                if event is None:
                    left -= 1
                else:
                    yield index, event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(
        self, index: int, places: asyncio.Semaphore, read: asyncio.Event, arrived: asyncio.Queue[Arrived]
    ) -> None:
        """One answer. The first of a prompt reads it; the others begin then, and find it read."""
        try:
            if index % self.each:
                await read.wait()
            async with places, aclosing(self._answers[index].events()) as events:
                async for event in events:
                    read.set()
                    arrived.put_nowait((index, event))
            arrived.put_nowait((index, None))
        except Exception as error:
            arrived.put_nowait((index, error))
        finally:
            read.set()

    def usage(self) -> dict[str, Any]:
        """Tokens read and written so far; a prompt that several answers continue counts once."""
        first = self._answers[:: self.each]
        read = sum(answer.prompt_tokens for answer in first)
        generated = sum(answer.tokens for answer in self._answers)
        return {
            "prompt_tokens": read,
            "completion_tokens": generated,
            "total_tokens": read + generated,
            "prompt_tokens_details": {"cached_tokens": sum(answer.cached for answer in first), "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }
