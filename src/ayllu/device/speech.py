"""The ears and the voice of the glasses, for the gateway's `/v1/audio`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager

import numpy as np

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples, resample
from ayllu.device.hear.ear import Ear, Listening, Paused, Started
from ayllu.device.parts import Parts
from ayllu.device.privacy.ledger import Ledger
from ayllu.device.realtime.captures import Captures
from ayllu.device.realtime.items import new_id
from ayllu.device.speak.speaker import speak
from ayllu.device.worker import Stuck
from ayllu.serve.audio.speech import Segment, Sound
from ayllu.serve.errors import ApiError

PASSAGE = 20_000
"""Milliseconds after which a passage is cut, pause or none: the recogniser takes half a minute."""
PAUSE = 400


@contextmanager
def told_stuck() -> Iterator[None]:
    """A part that was given up becomes an ApiError, which clients are told."""
    try:
        yield
    except Stuck as error:
        raise ApiError(503, str(error), code="part_stuck") from None


class DeviceSpeech:
    """Passages between two pauses, each heard by the stronger recogniser; clauses, each spoken when it is due."""

    def __init__(self, parts: Parts, *, ledger: Ledger | None = None, by: str = "/v1/audio") -> None:
        """What is heard is written into the `ledger`, where there is one; `by` is the way that it came."""
        self._parts, self._ledger, self._by = parts, ledger, by
        self.languages = frozenset({parts.language})
        self.hearing = (parts.final or parts.recogniser).name
        self.voice, self.rate = parts.voice.name, parts.voice.rate

    async def transcribe(self, sound: Sound) -> AsyncGenerator[Segment]:
        captures = Captures(self._ledger, new_id("sess"))
        why, seconds = f"a client sent it by {self._by} to have it written down", round(sound.seconds, 2)
        await captures.note("sound", why, [self.hearing], "nothing: its text is the client's", seconds=seconds)
        # An hour of silence takes a minute to look through: no part of the chain waits for that.
        audio = await asyncio.to_thread(resample, sound.samples, sound.rate, RATE)
        passages = self._passages(audio)
        while (passage := await asyncio.to_thread(next, passages, None)) is not None:
            start, end = passage
            with told_stuck():
                text = await self._parts.rescore(audio[start:end])
            if text:
                yield Segment(start=start / RATE, end=end / RATE, text=text)

    async def say(self, text: str, *, speed: float) -> AsyncGenerator[Samples]:
        async def whole() -> AsyncIterator[str]:
            yield text

        with told_stuck():
            async with aclosing(speak(self._parts, whole(), speed=speed)) as pieces:
                async for piece in pieces:
                    yield piece.audio

    def _passages(self, audio: Samples) -> Iterator[tuple[int, int]]:
        """Where somebody speaks: first sample and the one behind the last."""
        ear = Ear(self._parts.activity.stream(), Listening(pause=PAUSE, longest=PASSAGE))
        start, step = 0, RATE // 10
        for at in range(0, len(audio) + step, step):
            piece = audio[at : at + step]
            for event in ear.push(piece if len(piece) == step else np.pad(piece, (0, step - len(piece)))):
                if isinstance(event, Started):
                    start = event.at
                elif isinstance(event, Paused):
                    yield start, min(len(audio), ear.heard)
                    ear.end()
            if ear.length > PASSAGE:
                yield start, min(len(audio), ear.heard)
                start = ear.heard
                ear.end()
        if ear.speaking:
            yield start, len(audio)
