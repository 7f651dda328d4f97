"""How long those who are turned away are told to wait, by a simulated clock: never more than clients obey."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

import pytest

from ayllu.model.sampling import Sampling
from ayllu.serve.access.rates import LONGEST_RETRY, retry_after
from ayllu.serve.engines.engine import GenerationRequest
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.queue import EngineQueue
from ayllu.serve.queueing.pace import Pace
from ayllu.serve.queueing.turns import Holder, Turns
from support.serving.clocks import JumpingLoop
from support.serving.server import Watched

PLACES = 4


class Obedient:
    """Callers of one key, more than the line takes: each that is turned away comes again when it was told to.

    Answers take `seconds` in pieces of one; beside them a light key asks for a second of computing all the time, which
    they give turns back for.
    """

    def __init__(self, *, callers: int, seconds: float) -> None:
        self.told: list[int] = []
        self.refused = [0] * callers
        self.waited: list[tuple[float, float]] = []
        """What was estimated of a wait for a turn, and what it was."""
        self._seconds, self._answered = seconds, 0
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.run(self._all(callers))

    async def _all(self, callers: int) -> None:
        self._turns, self._pace = Turns(PLACES, longest=8), Pace()
        light = asyncio.ensure_future(self._light())
        await asyncio.gather(*(self._call(number) for number in range(callers)))
        light.cancel()
        await asyncio.gather(light, return_exceptions=True)

    def _estimate(self) -> float:
        return self._pace.wait(self._turns.waiting_of("heavy") + 1, places=self._turns.part_of("heavy"))

    async def _light(self) -> None:
        while True:
            await self._turns.take("light")
            await asyncio.sleep(1)
            self._turns.charge("light", 1)
            self._turns.give("light")
            await asyncio.sleep(2)

    async def _call(self, number: int) -> None:
        while self._turns.full("heavy"):
            self.refused[number] += 1
            self.told.append(retry_after(self._estimate()))
            await asyncio.sleep(self.told[-1])
        loop = asyncio.get_running_loop()
        asked, done = asyncio.Event(), 0.0
        holder = Holder(ready=lambda: done >= 1, ask=asked.set)
        estimate, since = self._estimate(), loop.time()
        await self._turns.take("heavy", holder)
        if self._answered > 20:
            self.waited.append((estimate, loop.time() - since))
        for _ in range(int(self._seconds)):
            await asyncio.sleep(1)
            done += 1
            self._turns.charge("heavy", 1)
            if asked.is_set():
                asked.clear()
                self._turns.give("heavy", holder)
                await self._turns.take("heavy", holder, again=True)
        self._turns.give("heavy", holder)
        self._answered += 1
        self._pace.ended(self._seconds)


@pytest.mark.parametrize("seconds", [1, 12, 40])
def test_whoever_comes_again_when_told_is_answered(seconds: float) -> None:
    found = Obedient(callers=60, seconds=seconds)
    assert found.told and all(1 <= wait <= LONGEST_RETRY for wait in found.told)
    # A line of 8 takes 60 callers in 8 rounds; where the wait is longer than may be told, they come twice for each.
    assert max(found.refused) <= 16
    right = [wait / 2 <= estimate <= wait * 2 for estimate, wait in found.waited]
    assert sum(right) >= len(right) / 2


def test_a_wait_that_is_longer_than_clients_obey_is_not_told() -> None:
    pace = Pace()
    for _ in range(100):
        pace.ended(600)
    assert pace.wait(64, places=8) == pytest.approx(4800, rel=0.01)
    assert retry_after(pace.wait(64, places=8)) == LONGEST_RETRY
    assert retry_after(0) == 1


def test_an_answer_that_gave_its_turn_back_counts_once(engine: TorchEngine) -> None:
    watched = Watched(engine, seconds=0.002, parallel=1)
    long = GenerationRequest(prompt=[65, 66], max_tokens=120, sampling=Sampling(temperature=0))
    alone = sum(chunk.tokens for chunk in watched.generate(long, threading.Event()))
    short = GenerationRequest(prompt=[80], max_tokens=3, sampling=Sampling(seed=1))

    async def consume(queue: EngineQueue, request: GenerationRequest, client: str) -> int:
        async with aclosing(queue.stream(request, client=client)) as chunks:
            return sum([chunk.tokens async for chunk in chunks])

    async def scenario() -> tuple[list[float], int]:
        queue = EngineQueue(watched)
        ended: list[float] = []
        queue.pace.ended = ended.append  # type: ignore[method-assign]
        heavy = asyncio.ensure_future(consume(queue, long, "heavy"))
        for _ in range(3):
            await asyncio.sleep(0)
            await consume(queue, short, "light")
        tokens = await heavy
        while queue.running:  # the last thread leaves its engine
            await asyncio.sleep(0)
        return ended, tokens

    ended, tokens = asyncio.run(scenario())
    assert len(ended) == 4 and tokens == alone
