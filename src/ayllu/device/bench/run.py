"""`ayllu glasses bench`: turns played in real time, and when the answer to each could first be heard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples
from ayllu.device.bench.turns import SpokenTurn, make_turns, room
from ayllu.device.bench.words import errors
from ayllu.device.hear.ear import Started
from ayllu.device.hear.listener import Final, Heard, Listener, Told
from ayllu.device.parts import Parts
from ayllu.device.speak.speaker import speak
from ayllu.device.think.mind import Asked, Mind
from ayllu.text.chat import Message

FRAME = RATE // 50
"""A microphone gives 20 ms at a time."""
BEFORE, ASIDE, GIVE_UP = 0.4, 0.8, 30.0
"""Seconds of room noise before a turn, how long the answer is listened to, and how long one is waited for."""
STAGES = ("end of turn", "recognition", "language model", "speech")
SYSTEM = "You are the voice of a pair of glasses. Answer in one short sentence."
ANSWER_TOKENS = 48


@dataclass
class Played:
    """What became of one turn; times are seconds of the monotonic clock."""

    said: str
    ended: float = 0.0
    """When the last sound of the speech had been played."""
    heard: list[Heard] = field(default_factory=list)
    finals: dict[int, str] = field(default_factory=dict)
    clause: float = 0.0
    """When the language model had written the first clause."""
    sound: float = 0.0
    """When the answer's first sound was there."""
    false_starts: int = 0
    """How often nobody's speech would have stopped the answer."""

    @property
    def cut(self) -> int:
        """How often the turn was taken for complete while it was not."""
        return sum(heard.decided < self.ended for heard in self.heard)

    @property
    def words(self) -> str:
        """What was heard in the end."""
        return " ".join(self.finals.get(heard.number, heard.text) for heard in self.heard)

    @property
    def answered(self) -> bool:
        return bool(self.sound and self.heard and self.heard[-1].decided >= self.ended)

    def stages(self) -> dict[str, float]:
        """Milliseconds on the way to the first sound, which add up."""
        last = self.heard[-1]
        ready = max(last.decided, last.ready)
        marks = (self.ended, last.decided, ready, self.clause, self.sound)
        return {name: 1000 * (b - a) for name, a, b in zip(STAGES, marks, marks[1:], strict=False)}


async def run_bench(
    parts: Parts, mind: Mind, *, turns: int, step: Callable[[int], None] = lambda done: None
) -> dict[str, Any]:
    """Play `turns` turns in real time, one stream, and measure; the JSON object of the command."""
    material = await asyncio.to_thread(make_turns, turns, parts.voice)
    await _warm(parts, mind)
    player = _Player(parts, mind)
    played = []
    for index, turn in enumerate(material):
        played.append(await player.play(turn, seed=index))
        step(index + 1)
    await player.listener.settle()
    return report(parts, mind, played)


class _Player:
    def __init__(self, parts: Parts, mind: Mind) -> None:
        self.parts, self.mind = parts, mind
        self.listener = Listener(parts, self._told)
        self._owner: dict[int, Played] = {}
        self._now: Played | None = None
        self._answering: asyncio.Task[None] | None = None

    async def play(self, turn: SpokenTurn, *, seed: int) -> Played:
        played = self._now = Played(said=turn.text)
        sound = np.concatenate([np.zeros(int(BEFORE * RATE), np.float32), turn.audio])
        sound += room(len(sound), seed)
        start = await self._feed(sound, time.monotonic())
        played.ended = start
        waited = 0.0
        while waited < GIVE_UP and not played.answered:
            start = await self._feed(room(FRAME, seed + 1 + int(waited * 50)), start)
            waited += FRAME / RATE
        await self._feed(room(int(ASIDE * RATE), seed), start)
        await self.listener.settle()
        self._stop()
        return played

    async def _feed(self, sound: Samples, start: float) -> float:
        """Give the listener a frame whenever its time has come; gives the time at which the sound has ended."""
        for at in range(0, len(sound), FRAME):
            frame = sound[at : at + FRAME]
            due = start + (at + len(frame)) / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.listener.feed(frame)
        return start + len(sound) / RATE

    def _told(self, event: Told) -> None:
        played = self._now
        assert played is not None
        match event:
            case Started():
                played.false_starts += bool(played.sound)
                self._stop()
            case Heard() if event.text:
                played.heard.append(event)
                played.sound = played.clause = 0.0
                self._owner[event.number] = played
                self._answering = asyncio.ensure_future(self._answer(played, event.text))
            case Final():
                self._owner[event.number].finals[event.number] = event.text
            case _:
                pass

    async def _answer(self, played: Played, text: str) -> None:
        messages = [Message(role="system", content=SYSTEM), Message(role="user", content=text)]
        clauses = _Watched(self.mind, messages, played)
        async with aclosing(speak(self.parts, clauses.text())) as pieces:
            async for _ in pieces:
                played.sound = played.sound or time.monotonic()

    def _stop(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
            self._answering = None


class _Watched:
    """The model's text, which notes when it last came before the first sound."""

    def __init__(self, mind: Mind, messages: list[Message], played: Played) -> None:
        self._mind, self._messages, self._played = mind, messages, played

    async def text(self) -> AsyncGenerator[str]:
        async with aclosing(self._mind.answer(Asked(messages=self._messages, most=ANSWER_TOKENS))) as words:
            async for word in words:
                if not isinstance(word, str):
                    continue
                if not self._played.sound:
                    self._played.clause = time.monotonic()
                yield word


async def _warm(parts: Parts, mind: Mind) -> None:
    """The first run of each model plans its memory: nobody waits for that in a session, as it is done on start."""
    listening = np.zeros(RATE, np.float32)
    await parts.follow(listening)
    await parts.judging.run(parts.turn.finished, listening)
    await parts.rescore(listening)
    messages = [Message(role="system", content=SYSTEM), Message(role="user", content="Hello")]
    async with aclosing(mind.answer(Asked(messages=messages, most=2))) as words:
        async for _ in words:
            pass


def report(parts: Parts, mind: Mind, played: list[Played]) -> dict[str, Any]:
    """What the command prints."""
    answered = [one for one in played if one.answered]
    times = [1000 * (one.sound - one.ended) for one in answered]
    stages = [one.stages() for one in answered]
    wrong, said = (sum(column) for column in zip(*(errors(one.said, one.words) for one in played), strict=True))
    false = sum(one.cut + one.false_starts for one in played)
    return {
        "voice_to_voice_ms": {
            **_percentiles(times),
            "stages": {name: _percentiles([stage[name] for stage in stages]) for name in STAGES},
        },
        "word_error_rate": round(wrong / max(1, said), 4),
        "false_interruptions": false,
        "false_interruption_rate": round(false / max(1, len(played)), 4),
        "turns": len(played),
        "unanswered": len(played) - len(answered),
        "model": mind.name,
        "parts": parts.names,
        "rounds": [
            {"voice_to_voice": round(ms, 1), **{name: round(value, 1) for name, value in stage.items()}}
            for ms, stage in zip(times, stages, strict=True)
        ],
    }


def _percentiles(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {"p50": None, "p95": None}
    return {"p50": round(float(np.percentile(values, 50)), 1), "p95": round(float(np.percentile(values, 95)), 1)}
