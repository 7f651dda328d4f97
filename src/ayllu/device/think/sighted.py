"""An answer about a picture that says nothing but what was seen in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

from ayllu.device.see.answer import CANNOT, Grounded, answer, supported
from ayllu.device.see.scene import Scene
from ayllu.device.speech import told_stuck
from ayllu.device.think.mind import Asked, Call, Counts, Mind, Written
from ayllu.device.worker import Worker
from ayllu.lab.error import UserError
from ayllu.serve.errors import ApiError

MOST = 48
"""Tokens of an answer whose support is looked at before it is spoken."""


@dataclass(frozen=True, kw_only=True)
class Sighted:
    """Answers from the statements where they answer the question, with a guess of the model that sees where they are
    silent about shapes, and else lets a mind answer, whose words are held until each is found in what was seen."""

    mind: Mind
    scene: Scene
    question: str
    told: Callable[[Grounded], Awaitable[None]]
    """Takes what the answer rests on, before it is spoken."""
    seeing: Worker
    """Does what is done with pictures."""

    @property
    def name(self) -> str:
        return self.mind.name

    async def answer(self, asked: Asked) -> AsyncGenerator[Written]:
        found = await self._guessed(answer(self.scene, self.question))
        counts = Counts(read=0, written=0, cut=False)
        calls: list[Call] = []
        if found is None:
            found, calls, counts = await self._checked(asked)
        if found.text:
            await self.told(found)
            yield found.text
        for call in calls:
            yield call
        yield counts

    async def _guessed(self, stated: Grounded | None) -> Grounded | None:
        """What the model that sees says, where there is one and it is asked; else what was stated."""
        glimpse = self.scene.glimpse
        if glimpse is None or not glimpse.is_asked(stated, self.question):
            return stated
        try:
            with told_stuck():
                guessed: Grounded | None = await self.seeing.run(partial(glimpse.guess, self.question))
                return guessed or stated
        except UserError as error:
            raise ApiError(400, str(error)) from None

    async def _checked(self, asked: Asked) -> tuple[Grounded, list[Call], Counts]:
        words, calls, counts = "", [], Counts(read=0, written=0, cut=False)
        most = min(asked.most or MOST, MOST)
        async with aclosing(self.mind.answer(replace(asked, most=most))) as written:
            async for piece in written:
                match piece:
                    case str():
                        words += piece
                    case Call():
                        calls.append(piece)
                    case Counts():
                        counts = piece
        if calls and not words.strip():
            return Grounded(text=""), calls, counts
        if self.mind.name != "none" and supported(words, self.scene, self.question):
            return Grounded(text=words.strip(), rests_on=self.scene.seen), calls, replace(counts, cut=False)
        return Grounded(text=CANNOT), calls, replace(counts, cut=False)
