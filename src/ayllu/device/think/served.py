"""A model that the gateway serves, asked within the process: the same queue and template as for every other client."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ayllu.device.think.mind import Asked, Call, Counts, Written
from ayllu.serve.engines.engine import EngineEnded
from ayllu.serve.errors import BUSY, ApiError
from ayllu.serve.queueing.turns import QueueFull
from ayllu.serve.served import Models
from ayllu.serve.turn.answer import Answer
from ayllu.serve.turn.asked import Turn
from ayllu.serve.turn.events import CallEnded, End, Words
from ayllu.serve.turn.generation import generation_request
from ayllu.serve.turn.prepare import prepare

SECONDS = 120.0


class ServedMind:
    """One of the served models. It says at most `most` tokens at a time: nobody listens for longer."""

    def __init__(self, models: Models, name: str | None = None, *, most: int = 256) -> None:
        self._models, self._asked, self._most = models, name, most
        self.name = models.about(name).name

    async def answer(self, asked: Asked) -> AsyncGenerator[Written]:
        served = await self._models.find(self._asked)
        most = min(asked.most or self._most, self._most)
        try:
            turn = Turn(messages=asked.messages, tools=asked.tools, choice=asked.choice)
        except ValueError as error:
            raise ApiError(400, str(error), param="tool_choice") from None
        prepared = await served.prepare(lambda given: prepare(served, given, max_tokens=most, trim=asked.trim), turn)
        request = generation_request(served, prepared, sampling=served.about.sampling, most=most)
        answer = Answer(served.queue, request, prepared.reader(), client="glasses", seconds=SECONDS)
        try:
            async with aclosing(answer.events()) as events:
                async for event in events:
                    match event:
                        case Words():
                            yield event.text
                        case CallEnded():
                            yield Call(id=event.id, name=event.name, arguments=event.arguments)
                        case End():
                            cut = event.reason == "length"
                            yield Counts(read=answer.prompt_tokens, written=answer.tokens, cut=cut)
                        case _:
                            pass
        except QueueFull:
            raise ApiError(503, BUSY) from None
        except EngineEnded as error:
            raise ApiError(503, str(error)) from None
