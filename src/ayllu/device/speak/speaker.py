"""Streaming speech: text as it is written in, sound from the first clause on out, with the time of each word."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

import numpy as np

from ayllu.device.audio.pcm import Samples
from ayllu.device.parts import Parts, Voice
from ayllu.device.speak.clauses import Clauses

QUIET = 0.01
"""Below this nothing is heard."""
BEFORE, AFTER = 0.01, 0.12
"""Seconds of quiet that are left before and behind a piece: the voice makes up to 0.2 (piper's voices)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpokenWord:
    """A word, and the samples of its piece that it takes. Where a word ends is estimated from its length."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Spoken:
    """A piece of speech."""

    text: str
    audio: Samples
    rate: int
    words: tuple[SpokenWord, ...]


async def speak(parts: Parts, text: AsyncIterator[str], *, speed: float = 1.0) -> AsyncGenerator[Spoken]:
    """Say a text while it is written. Raises Stuck where the voice hangs."""
    clauses = Clauses()

    async def say(piece: str) -> Spoken | None:
        return await parts.speaking.run(spoken, parts.voice, piece, speed)

    async for written in text:
        for piece in clauses.push(written):
            if said := await say(piece):
                yield said
    for piece in clauses.close():
        if said := await say(piece):
            yield said


def spoken(voice: Voice, text: str, speed: float = 1.0) -> Spoken | None:
    """A piece of text as sound, without the voice's own quiet around it; None where nothing can be pronounced."""
    audio = trimmed(voice.say(text, speed=speed), voice.rate)
    if not len(audio):
        return None
    return Spoken(text=text, audio=audio, rate=voice.rate, words=words_in(text, len(audio), voice.rate))


def trimmed(audio: Samples, rate: int) -> Samples:
    """The sound from just before what can be heard to just behind it."""
    loud = np.flatnonzero(np.abs(audio) > QUIET)
    if not len(loud):
        return audio[:0]
    return audio[max(0, loud[0] - int(BEFORE * rate)) : loud[-1] + 1 + int(AFTER * rate)]


def words_in(text: str, samples: int, rate: int) -> tuple[SpokenWord, ...]:
    """When each word is said: the time is divided by letters, and a mark behind a word counts as two."""
    words = text.split()
    weights = [len(re.sub(r"\W", "", word)) + 1 + 2 * bool(re.search(r"[,.;:!?]$", word)) for word in words]
    spoken_for = max(1, samples - int(AFTER * rate))
    ends = np.cumsum(weights) / max(1, sum(weights)) * spoken_for
    starts = [0.0, *ends[:-1]]
    return tuple(
        SpokenWord(text=word, start=int(start), end=int(end))
        for word, start, end in zip(words, starts, ends, strict=True)
    )
