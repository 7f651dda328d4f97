from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from ayllu.model.sampling import Sampling
from ayllu.serve.engines.decode import joined
from ayllu.serve.engines.engine import GenerationRequest, TextChunk
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.queue import EngineQueue
from ayllu.serve.queueing.holding import MOST_UNREAD
from ayllu.serve.queueing.turns import Holder, QueueFull, Turns
from support.serving.clocks import JumpingLoop
from support.serving.server import Watched

LONG = GenerationRequest(prompt=[65], max_tokens=200, sampling=Sampling(seed=1))


async def consume(queue: EngineQueue, request: GenerationRequest, client: str = "") -> list[TextChunk]:
    async with aclosing(queue.stream(request, client=client)) as chunks:
        return [chunk async for chunk in chunks]


def test_clients_take_turns_however_much_one_asks() -> None:
    async def scenario() -> list[str]:
        turns, order = Turns(1, longest=10), []

        async def work(client: str) -> None:
            await turns.take(client)
            order.append(client)
            await asyncio.sleep(0)
            turns.give(client)

        await asyncio.gather(*(work(client) for client in "aaaabbc"))
        return order

    assert "".join(asyncio.run(scenario())) == "aabcaba"


STEP = 0.5
"""Seconds of an answer after which it is counted, and may give its turn back."""


class Waits:
    """Users of four keys beside a heavy one, before eight places: how long they wait, by a simulated clock.

    Answers of users take 2.5 to 7.5 seconds, with pauses of `pause` seconds in the mean before each; a heavy key has 60
    callers, whose answers take 50 seconds each.
    """

    def __init__(self, *, users: int, pause: float, heavy: bool, gives_back: bool = True) -> None:
        self.seconds: list[float] = []
        """From a question to the first turn, of each answer of a user."""
        self.whole: list[float] = []
        """The same and all without a turn after that."""
        self._users, self._pause, self._heavy, self._gives_back = users, pause, heavy, gives_back
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.run(self._all())

    async def _all(self) -> None:
        turns, dice = Turns(8, longest=64), random.Random(1)
        callers = [
            self._ask(turns, f"key {n % 4}", lambda: dice.uniform(2.5, 7.5), dice) for n in range(4 * self._users)
        ]
        callers += [self._ask(turns, "heavy", lambda: 50.0, None) for _ in range(60 * self._heavy)]
        await asyncio.gather(*callers)

    async def _ask(self, turns: Turns, key: str, length: Callable[[], float], dice: random.Random | None) -> None:
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()
        done = 0.0
        holder = Holder(ready=lambda: done >= 2 * STEP, ask=asked.set) if self._gives_back else None
        while loop.time() < 500:
            if dice is not None and self._pause:
                await asyncio.sleep(dice.expovariate(1 / self._pause))
            left, since, lost = length(), loop.time(), 0.0
            await turns.take(key, holder)
            waited = loop.time() - since
            while left > 0:
                await asyncio.sleep(STEP)
                turns.charge(key, 20 * STEP)
                left, done = left - STEP, done + STEP
                if asked.is_set() and left > 0:
                    turns.give(key, holder)
                    asked.clear()
                    since = loop.time()
                    await turns.take(key, holder, again=True)
                    lost, done = lost + loop.time() - since, 0.0
            turns.give(key, holder)
            asked.clear()
            if dice is not None and loop.time() > 100:
                self.seconds.append(waited)
                self.whole.append(waited + lost)


def p95(waits: list[float]) -> float:
    """What 95 of 100 wait at most."""
    return sorted(waits)[int(len(waits) * 0.95)]


@pytest.mark.parametrize(
    ("users", "pause"), [(2, 0.5), (2, 2.0), (2, 4.0), (3, 1.0), (6, 0.0)], ids=lambda value: f"{value}"
)
def test_one_heavy_key_cannot_double_the_wait_of_others(users: int, pause: float) -> None:
    alone = Waits(users=users, pause=pause, heavy=False)
    beside = Waits(users=users, pause=pause, heavy=True)
    assert 0 < p95(beside.seconds) <= 2 * p95(alone.seconds)
    # Nor does it come back as waits amid answers.
    assert p95(beside.whole) <= 2 * p95(alone.whole)


def test_keys_with_one_question_at_a_time_never_wait() -> None:
    assert p95(Waits(users=1, pause=0, heavy=False).whole) == p95(Waits(users=1, pause=0, heavy=True).seconds) == 0


def test_one_who_was_served_more_still_has_a_place_that_nobody_wants() -> None:
    async def scenario() -> None:
        turns = Turns(1, longest=10)
        for client in "ab":
            await turns.take(client)
            turns.charge(client, 1 if client == "a" else 100)
            turns.give(client)
        await asyncio.wait_for(turns.take("b"), 1)

    asyncio.run(scenario())


def test_whoever_leaves_the_line_is_skipped() -> None:
    async def scenario() -> None:
        turns = Turns(1, longest=10)
        await turns.take("a")
        waiting = [asyncio.ensure_future(turns.take(client)) for client in "ab"]
        await asyncio.sleep(0)
        waiting[0].cancel()
        turns.give("a")
        await waiting[1]
        turns.give("b")
        await asyncio.wait_for(turns.take("c"), 1)

    asyncio.run(scenario())


def test_a_turn_given_to_one_who_just_left_is_passed_on() -> None:
    async def scenario() -> None:
        turns = Turns(1, longest=10)
        await turns.take("a")
        waiting = asyncio.ensure_future(turns.take("b"))
        await asyncio.sleep(0)
        turns.give("a")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.wait_for(turns.take("c"), 1)

    asyncio.run(scenario())


def test_a_client_leaves_a_place_for_the_next_however_much_it_asks() -> None:
    async def scenario() -> None:
        turns = Turns(8, longest=100)
        many = [asyncio.ensure_future(turns.take("a")) for _ in range(70)]
        await asyncio.sleep(0)
        assert sum(turn.done() for turn in many) == 4
        for client in "bcd":
            await asyncio.wait_for(turns.take(client), 1)
        turns.give("a")
        await asyncio.sleep(0)
        assert sum(turn.done() for turn in many) == 4  # half of what others do not hold are three now
        for client in "bcd":
            turns.give(client)
        await asyncio.sleep(0)
        assert sum(turn.done() for turn in many) == 5
        for turn in many:
            turn.cancel()

    asyncio.run(scenario())


def test_a_line_that_is_full_is_full_for_its_own_client_only() -> None:
    async def scenario() -> None:
        turns = Turns(1, longest=2)
        await turns.take("a")
        waiting = [asyncio.ensure_future(turns.take("a")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await turns.take("a")
        assert turns.full("a")
        assert not turns.full("b")
        waiting.append(asyncio.ensure_future(turns.take("b")))
        await asyncio.sleep(0)
        turns.give("a")
        turns.give("a")
        await asyncio.wait_for(waiting[-1], 1)
        waiting[1].cancel()

    asyncio.run(scenario())


def test_answers_share_the_engine_token_by_token_and_all_are_right(engine: TorchEngine) -> None:
    watched = Watched(engine, seconds=0.002)
    requests = [GenerationRequest(prompt=[65 + i], max_tokens=20, sampling=Sampling(seed=i)) for i in range(4)]
    order: list[str] = []

    async def follow(queue: EngineQueue, request: GenerationRequest, client: str) -> list[TextChunk]:
        chunks = []
        async with aclosing(queue.stream(request, client=client)) as stream:
            async for chunk in stream:
                order.append(client)
                chunks.append(chunk)
        return chunks

    async def scenario() -> list[list[TextChunk]]:
        queue = EngineQueue(watched)
        return await asyncio.gather(*(follow(queue, r, c) for r, c in zip(requests, "abcd", strict=True)))

    got = asyncio.run(scenario())
    alone = [list(watched.generate(request, threading.Event())) for request in requests]
    # Chunks that are there together come as one.
    assert [joined(chunks) for chunks in got] == [joined(chunks) for chunks in alone]
    assert watched.most > 1
    # Each had its first word before any had its last.
    assert max(order.index(client) for client in "abcd") < min(len(order) - 1 - order[::-1].index(c) for c in "abcd")


@pytest.mark.parametrize("held", [3, 5])
def test_leaving_while_the_prompt_is_read_stops_the_reading(engine: TorchEngine, held: int) -> None:
    watched = Watched(engine, hold_after=held, piece=16, parallel=1)
    long = GenerationRequest(prompt=[65] * 200, max_tokens=10)

    async def scenario() -> None:
        queue = EngineQueue(watched)
        async with aclosing(queue.stream(long)) as chunks:
            async for chunk in chunks:
                assert (chunk.text, chunk.tokens) == ("", 0)
                break
        await consume(queue, GenerationRequest(prompt=[65], max_tokens=1))

    asyncio.run(scenario())
    # Of the 13 pieces at most those before it was held; of the second request its token and its end.
    assert watched.computed <= held + 2


ANSWERS = [
    GenerationRequest(prompt=[65, 66], max_tokens=120, sampling=Sampling(temperature=0)),
    GenerationRequest(prompt=[70], max_tokens=120, sampling=Sampling(temperature=0, repetition_penalty=1.3)),
    GenerationRequest(prompt=[75, 76, 77], max_tokens=120, sampling=Sampling(temperature=0), stop=["x"], logprobs=2),
    GenerationRequest(prompt=[65], max_tokens=120, sampling=Sampling(seed=3)),
    GenerationRequest(prompt=[66], max_tokens=120, sampling=Sampling(seed=4, temperature=1.5, top_p=0.8, top_k=40)),
    GenerationRequest(prompt=[67], max_tokens=120, sampling=Sampling(temperature=0, presence_penalty=1.0)),
    GenerationRequest(prompt=[68, 69], max_tokens=120, sampling=Sampling(seed=5, frequency_penalty=0.7)),
]
SHORT = GenerationRequest(prompt=[80], max_tokens=3, sampling=Sampling(seed=1))


@pytest.mark.parametrize("request_", ANSWERS)
def test_an_answer_gives_its_turn_back_and_goes_on_as_if_nothing_had_been(
    engine: TorchEngine, request_: GenerationRequest
) -> None:
    watched = Watched(engine, seconds=0.002, parallel=1)
    alone = joined(list(watched.generate(request_, threading.Event())))

    async def scenario() -> tuple[list[TextChunk], list[bool]]:
        queue = EngineQueue(watched)
        heavy = asyncio.ensure_future(consume(queue, request_, "heavy"))
        before: list[bool] = []
        for _ in range(3):
            await asyncio.sleep(0)
            await consume(queue, SHORT, "light")
            before.append(not heavy.done())
        return await heavy, before

    chunks, before = asyncio.run(scenario())
    assert any(before)  # the only place was given to others while it was under way
    got = joined(chunks)
    assert (got.text, got.tokens, got.finish_reason) == (alone.text, alone.tokens, alone.finish_reason)
    assert [one.id for one in got.drawn] == [one.id for one in alone.drawn]
    assert got.cached == alone.cached


def test_an_answer_that_nobody_reads_is_not_written_on_until_somebody_does(engine: TorchEngine) -> None:
    watched = Watched(engine, seconds=0.001, parallel=1)
    whole = joined(list(watched.generate(LONG, threading.Event())))
    assert whole.tokens > 2 * MOST_UNREAD
    watched.computed = 0

    async def scenario() -> list[TextChunk]:
        queue = EngineQueue(watched)
        async with aclosing(queue.stream(LONG, client="slow")) as chunks:
            got = [await anext(chunks)]
            while queue.running:
                await asyncio.sleep(0.001)
            assert watched.computed <= got[0].tokens + MOST_UNREAD + 2
            assert queue.turns.waiting == 0, "nobody asked for its turn"
            return [*got, *[chunk async for chunk in chunks]]

    got = joined(asyncio.run(scenario()))
    assert (got.text, got.tokens, got.finish_reason) == (whole.text, whole.tokens, whole.finish_reason)


@pytest.mark.parametrize(
    ("asked", "resumes"),
    [
        ({"logprobs": 1, "prompt_logprobs": True}, True),
        ({"sampling": Sampling(seed=3)}, False),
        ({"sampling": Sampling(temperature=0, presence_penalty=1.0)}, False),
    ],
    ids=["prompt", "seed", "penalty"],
)
def test_an_answer_that_the_engine_cannot_resume_keeps_its_turn(
    engine: TorchEngine, asked: dict[str, Any], resumes: bool
) -> None:
    watched = Watched(engine, seconds=0.001, parallel=1)
    watched.accepts = replace(watched.accepts, resumes=resumes)
    long = GenerationRequest(prompt=[65, 66], max_tokens=60, **asked)

    async def scenario() -> list[str]:
        queue, ended = EngineQueue(watched), []

        async def follow(request: GenerationRequest, client: str) -> None:
            await consume(queue, request, client)
            ended.append(client)

        heavy = asyncio.ensure_future(follow(long, "heavy"))
        while not watched.running:
            await asyncio.sleep(0)
        await asyncio.gather(heavy, follow(SHORT, "light"))
        return ended

    assert asyncio.run(scenario()) == ["heavy", "light"]


def test_leaving_stops_the_computing(engine: TorchEngine) -> None:
    watched = Watched(engine, hold_after=3, parallel=1)

    async def scenario() -> None:
        queue = EngineQueue(watched)
        async with aclosing(queue.stream(LONG)) as chunks:
            async for _ in chunks:
                break
        # Only an engine that has stopped has a turn for the next caller.
        await consume(queue, GenerationRequest(prompt=[65], max_tokens=1))

    asyncio.run(scenario())
    # Of the first at most what was computed before it was left; of the second its token and its end.
    assert watched.computed <= 3 + 2


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock a test can put forward."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


def test_an_answer_that_takes_too_long_is_cut(engine: TorchEngine) -> None:
    watched = Watched(engine, hold_after=3, parallel=1)

    async def scenario() -> list[TextChunk]:
        chunks = []
        async for chunk in EngineQueue(watched).stream(LONG, seconds=600):
            chunks.append(chunk)
            if sum(chunk.tokens for chunk in chunks) == 3:  # those that are there together come as one
                loop = asyncio.get_running_loop()
                assert isinstance(loop, SkippingLoop)
                loop.skipped += 600
        return chunks

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        chunks = runner.run(scenario())
    *came, last = chunks
    assert {chunk.finish_reason for chunk in came} == {None} and last.finish_reason == "length"
    assert watched.computed == 3


def test_too_many_are_turned_away(engine: TorchEngine) -> None:
    async def scenario() -> None:
        queue = EngineQueue(Watched(engine, hold_after=1, parallel=1), longest=1)
        tasks = [asyncio.ensure_future(consume(queue, LONG)) for _ in range(2)]
        while not queue.full(""):
            await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await consume(queue, LONG)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        queue.close()

    asyncio.run(scenario())


def test_waiting_ends_after_a_time(engine: TorchEngine) -> None:
    async def scenario() -> None:
        watched = Watched(engine, hold_after=1, parallel=1)
        queue = EngineQueue(watched)
        first = asyncio.ensure_future(consume(queue, LONG))
        while not watched.running:
            await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await anext(queue.stream(LONG, seconds=0.02))
        assert queue.turns.waiting == 0
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    asyncio.run(scenario())


def test_a_failure_of_the_engine_reaches_the_caller_and_frees_the_turn(engine: TorchEngine) -> None:
    too_long = GenerationRequest(prompt=[65] * (engine.context + 1), max_tokens=1)

    async def scenario() -> None:
        queue = EngineQueue(engine)
        with pytest.raises(ValueError, match="context"):
            await consume(queue, too_long)
        # However many of them come together.
        assert sum(chunk.tokens for chunk in await consume(queue, GenerationRequest(prompt=[65], max_tokens=3))) == 3

    asyncio.run(scenario())
