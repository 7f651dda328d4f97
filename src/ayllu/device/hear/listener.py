"""From a stream of sound to turns: who has begun, what has been said so far, and the text once a turn has ended.

A pause is looked at as soon as it begins: whether the turn is complete, and what was said, are computed beside each
other while the silence still grows, so that nothing is left to do when it has been long enough.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from ayllu.device.audio.pcm import Samples
from ayllu.device.hear.ear import Ear, Listening, Paused, Resumed, Started
from ayllu.device.hear.opinion import second_opinion
from ayllu.device.hear.turn import hanging
from ayllu.device.parts import Parts
from ayllu.device.worker import Stuck

log = logging.getLogger("uvicorn.error")

AGAIN = (288, 560, 850)
"""Milliseconds of silence at which a pause is judged again: some turns are known as complete only then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Partial:
    """What has been said so far."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Voiced:
    """Whose voice turn `number` has, from its beginning."""

    number: int
    voice: Samples


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """A turn has ended; `start` and `end` count samples of the stream, the others are monotonic seconds."""

    number: int
    text: str
    """Empty where nobody said a word."""
    audio: Samples
    voice: Samples | None = None
    """Whose it is, where voices are told apart and it could be told."""
    start: int
    end: int
    decided: float
    """When the silence had been long enough."""
    ready: float
    """When the text was there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Final:
    """The second opinion on turn `number`."""

    number: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """Turn `number` could not be understood."""

    number: int
    why: str
    """In words for the wearer."""


@dataclass
class _Pause:
    at: int
    probability: float | None = None
    text: str | None = None
    voice: Samples | None = None
    ready: float = 0.0
    decided: float | None = None
    judged: int = 0
    """How often it has been judged again."""


Told = Started | Partial | Voiced | Heard | Final | Failed


@dataclass
class Listener:
    """One stream. `tell` is called in the event loop with everything that happens, in order."""

    parts: Parts
    tell: Callable[[Told], None]
    how: Listening = field(default_factory=Listening)

    def __post_init__(self) -> None:
        self.ear = Ear(self.parts.activity.stream(), self.how)
        self._pause: _Pause | None = None
        self._start = self._number = self._looked = 0
        self._following = self._voiced = False
        self._tasks: set[asyncio.Task[None]] = set()

    def feed(self, audio: Samples) -> None:
        """The next piece of sound at 16 kHz, of any size."""
        for event in self.ear.push(audio):
            match event:
                case Started():
                    self._start, self._looked, self._voiced = event.at, 0, False
                    self.tell(event)
                case Paused():
                    self._pause = _Pause(event.at)
                    self._spawn(self._judge(self._pause, self.ear.audio))
                case Resumed():
                    self._pause = None
        self._decide()
        self._follow()
        self._whose()

    def cut(self) -> Samples:
        """Close the open turn without a word about it; gives its sound, and nothing where nobody speaks."""
        self._pause = None
        if not self.ear.speaking:
            return self.ear.audio[:0]
        self._number += 1
        return self.ear.end()

    async def settle(self) -> None:
        """Wait until what is being looked at has been told."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _judge(self, pause: _Pause, audio: Samples) -> None:
        """Ask about a pause, and what was said before it."""

        async def words() -> None:
            try:
                spoken = audio[: max(0, pause.at - self._start)]
                text, pause.voice = await asyncio.gather(self.parts.follow(audio), self._voice(spoken))
                pause.text = text
            except Exception as error:
                # The turn ends all the same, and the next one is heard again.
                log.exception("the recogniser failed")
                why = str(error) if isinstance(error, Stuck) else "the recogniser failed"
                self.tell(Failed(number=self._number + 1, why=why))
                pause.text = ""
            pause.ready = time.monotonic()
            self._decide()

        await asyncio.gather(self._complete(pause, audio), words())

    async def _complete(self, pause: _Pause, audio: Samples) -> None:
        try:
            pause.probability = await self.parts.judging.run(self.parts.turn.finished, audio)
        except Exception:
            log.exception("the judge of pauses failed")  # patience ends the turn
        self._decide()

    def _judge_again(self, pause: _Pause) -> None:
        """Ask once more where the first answer was no, and the silence has grown."""
        if pause.probability is None or pause.judged == len(AGAIN) or self.ear.silence < AGAIN[pause.judged]:
            return
        pause.judged += 1
        pause.probability = None
        self._spawn(self._complete(pause, self.ear.audio))

    def _decide(self) -> None:
        """End the turn if it has ended."""
        pause = self._pause
        if pause is None and self.ear.speaking and self.ear.length >= self.how.longest:
            pause = self._pause = _Pause(self.ear.heard, probability=1.0)
            self._spawn(self._judge(pause, self.ear.audio))
        if pause is None:
            return
        complete = pause.probability is not None and pause.probability >= self.how.complete
        complete = complete and not (pause.text and hanging(pause.text))
        enough = self.ear.silence >= (self.how.stop if complete else self.how.patience)
        if enough or self.ear.length >= self.how.longest:
            pause.decided = pause.decided or time.monotonic()
            if pause.text is not None:
                self._end(pause)
        elif not complete:
            self._judge_again(pause)

    def _end(self, pause: _Pause) -> None:
        audio, self._pause = self.ear.end(), None
        self._number += 1
        assert pause.text is not None and pause.decided is not None
        heard = Heard(
            number=self._number,
            text=pause.text,
            audio=audio,
            voice=pause.voice,
            start=self._start,
            end=pause.at,
            decided=pause.decided,
            ready=pause.ready,
        )
        self.tell(heard)
        if self.parts.final is not None and heard.text:
            self._spawn(self._rescore(heard))

    async def _rescore(self, heard: Heard) -> None:
        try:
            text = await self.parts.rescore(heard.audio)
        except Exception:
            log.exception("the second recogniser failed")
            text = ""
        self.tell(Final(number=heard.number, text=second_opinion(heard.text, text)))

    def _follow(self) -> None:
        """Look at what has been said so far, if it is time."""
        due = self.ear.length - self._looked >= self.how.partial
        if not self.how.partial or not self.ear.speaking or self.ear.paused or self._following or not due:
            return
        self._looked, self._following = self.ear.length, True
        self._spawn(self._partial(self.ear.audio, self._number))

    def _whose(self) -> None:
        """Ask once in a turn whose voice it is, before it has ended."""
        if self.parts.voices is None or self._voiced or not self.ear.speaking or self.ear.length < self.how.voiced:
            return
        self._voiced = True
        self._spawn(self._tell_voice(self.ear.audio, self._number + 1))

    async def _tell_voice(self, audio: Samples, number: int) -> None:
        voice = await self._voice(audio)
        if voice is not None and number == self._number + 1 and self.ear.speaking:
            self.tell(Voiced(number=number, voice=voice))

    async def _voice(self, audio: Samples) -> Samples | None:
        try:
            return await self.parts.whose(audio)
        except Exception:
            log.exception("what tells voices apart failed")
            return None

    async def _partial(self, audio: Samples, number: int) -> None:
        try:
            text = await self.parts.follow(audio)
        except Exception:
            log.exception("the recogniser failed")
            return
        finally:
            self._following = False
        if text and number == self._number and self.ear.speaking:
            self.tell(Partial(text=text))
