"""A script played against `/v1/realtime`, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np

from ayllu.device.bench.turns import make_turn
from ayllu.device.bench.words import errors
from ayllu.device.parts import Parts, Voice
from ayllu.device.simulated.body import Body, Build
from ayllu.device.simulated.device import Device, Turn, words_of
from ayllu.device.simulated.loudspeaker import Loudspeaker
from ayllu.device.simulated.placed import PlacedDevice
from ayllu.device.simulated.script import Script, Step
from ayllu.device.simulated.senses import read_wav
from ayllu.lab.error import UserError

PATIENCE = 45.0
"""Seconds without an answer after which a wearer asks again."""
TRIES = 3
PAUSE = 2.0
"""Seconds before it is said again: what the server still has to tell of the last time is not of the next."""


class Player:
    """Plays one script."""

    def __init__(
        self,
        script: Script,
        url: str,
        voice: Voice,
        *,
        key: str | None = None,
        pace: float = 1.0,
        own: Parts | None = None,
    ) -> None:
        """`own` are the ears and the voice of the device itself: it chooses for each turn where it hears and speaks."""
        self.script, self.voice, self.turns = script, voice, list[Turn]()
        try:
            build = Build(**script.device.build)
        except TypeError:
            known = ", ".join(Build.__dataclass_fields__)
            raise UserError(f"device.build has a field that is not known; known are {known}") from None
        body = Body(build, charge=script.device.battery, temperature=script.device.temperature)
        self.device = Device(url, body, key=key, pace=pace)
        if own is not None:
            self.device = PlacedDevice(url, body, key=key, pace=pace, parts=own)
        self.device.microphone.seed = script.seed
        if (aloud := script.loudspeaker) is not None:
            if own is not None or pace != 1:
                raise UserError("a loudspeaker plays the server's voice in real time: leave out --own and --pace")
            self.device.cancel = aloud.cancel
            self.device.microphone.loudspeaker = Loudspeaker(
                down=aloud.down, reverberation=aloud.reverberation, delay=aloud.delay, seed=script.seed
            )
        self.dropped = 0
        self.failed: Callable[[int], None] = lambda turn: None
        """Called when a turn was not answered, before it is said again."""
        self._expected: list[tuple[Turn, str]] = []

    async def play(
        self, step: Callable[[int], None] = lambda done: None, *, enough: Callable[[], bool] = lambda: False
    ) -> dict[str, Any]:
        """Play to the end, or until it is enough; gives the report. Raises UserError where the server is not there."""
        self.device.microphone.kind, self.device.microphone.snr = self.script.noise, self.script.snr
        living = asyncio.create_task(self.device.live())
        try:
            for place, one in enumerate(self.script.steps):
                playing = asyncio.create_task(self._step(one))
                await asyncio.wait([playing, living], return_when=asyncio.FIRST_COMPLETED)
                if not playing.done():
                    playing.cancel()
                    living.result()  # what went wrong, or nothing where the battery is empty
                    break
                playing.result()
                step(place + 1)
                if enough():
                    break
            lost = [] if living.done() else await self._lost()
        finally:
            living.cancel()
            await asyncio.gather(living, return_exceptions=True)
        return self._report(lost)

    async def _step(self, step: Step) -> None:
        device = self.device
        if step.noise is not None:
            device.microphone.kind = step.noise
        if step.snr is not None:
            device.microphone.snr = step.snr
        if step.picture is not None:
            device.picture = step.picture
            await device.link.send("x.camera", on=True)
        if step.wait is not None:
            await asyncio.sleep(step.wait)
        elif step.network is not None:
            await device.link.open.wait()
            self.dropped += 1
            device.link.drop()
            await asyncio.sleep(0)
        else:
            await self._say(step)

    async def _say(self, step: Step) -> None:
        if step.wav is not None:
            speech = read_wav(step.wav)
        else:
            run = asyncio.get_running_loop().run_in_executor
            speech = (await run(None, make_turn, step.say or "", self.voice)).audio
        turn = Turn(said=step.say or "", interrupted=step.interrupt is not None)
        self.turns.append(turn)
        if step.expect is not None:
            self._expected.append((turn, step.expect))
        for _ in range(TRIES):
            await self.device.link.open.wait()
            opened = self.device.link.opened
            await self.device.place(turn)
            self.device.say(turn, speech)
            if await self._answered(turn, opened, step.interrupt):
                return
            self.device.microphone.hush()
            self.failed(len(self.turns))
            await asyncio.sleep(PAUSE)
            turn.repeated += 1
            turn.forget()

    async def _answered(self, turn: Turn, opened: int, interrupt: float | None) -> bool:
        """Whether the answer came, by the connection on which it was asked for."""
        waited = 0.0
        event = turn.done if interrupt is None else turn.begun
        while waited < PATIENCE and not event.is_set() and not turn.misheard:
            await asyncio.sleep(0.05)
            waited += 0.0 if self.device.microphone.speaking else 0.05
            if self.device.link.opened != opened:
                return False
        if interrupt is not None:
            await asyncio.sleep(interrupt)
        else:
            while self.device.answering and self.device.pace:
                await asyncio.sleep(0.05)
        return event.is_set()

    async def _lost(self) -> list[str]:
        """Which of the acknowledged items the server does not have any more, or has with other words."""
        link, lost = self.device.link, []
        await link.open.wait()
        for name, item in list(link.items.items()):
            found = await link.ask(name)
            if found is None or words_of(found) != item.text:
                lost.append(name)
        return lost

    def _report(self, lost: list[str]) -> dict[str, Any]:
        for turn in self.turns:
            if turn.status == "unanswered" and turn.begun.is_set():
                turn.status = "cut"
        spoken = [turn for turn in self.turns if turn.said]
        wrong = [errors(turn.said, turn.heard) for turn in spoken]
        unmet = [words for turn, words in self._expected if words.lower() not in turn.answer.lower()]
        waits = [1000 * (turn.sound - turn.ended) for turn in self.turns if turn.sound and turn.ended]
        body = self.device.body
        return {
            "turns": [_told(turn) for turn in self.turns],
            "unanswered": sum(turn.status == "unanswered" for turn in self.turns),
            "asked_again": sum(turn.repeated for turn in self.turns),
            "word_error_rate": round(sum(one for one, _ in wrong) / max(1, sum(words for _, words in wrong)), 4),
            "expectations_unmet": unmet,
            "answer_after_ms": {"p50": round(float(np.median(waits)), 1)} if waits else {"p50": None},
            "connections": self.device.link.opened,
            "dropped": self.dropped,
            "acknowledged": len(self.device.link.items),
            "lost": lost,
            "interrupted_itself": self.device.interrupted_itself,
            "problems": self.device.problems,
            "placement": self.device.placement.shown() if isinstance(self.device, PlacedDevice) else [],
            "device": {**body.shown(), "joules": {name: round(value, 2) for name, value in body.joules.items()}},
        }


def _told(turn: Turn) -> dict[str, Any]:
    after = round(1000 * (turn.sound - turn.ended)) if turn.sound and turn.ended else None
    told: dict[str, Any] = {"said": turn.said, "heard": turn.heard, "answer": turn.answer, "status": turn.status}
    told["placed"] = turn.placed
    return {**told, "after_ms": after, "asked_again": turn.repeated, "rests_on": turn.rests_on}
