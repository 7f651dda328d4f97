from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

import pytest

from ayllu.model.generate import Sampling
from ayllu.serve.engines.engine import GenerationRequest, TextChunk
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.queue import EngineQueue, QueueFull, Turns
from support.server import Watched

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
    assert got == [list(watched.generate(request, threading.Event())) for request in requests]
    assert watched.most > 1
    # Each had its first word before any had its last.
    assert max(order.index(client) for client in "abcd") < min(21 * 4 - 1 - order[::-1].index(c) for c in "abcd")


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
    assert watched.computed <= held + 1


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
    assert watched.computed <= 3 + 1


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
            if len(chunks) == 3:
                loop = asyncio.get_running_loop()
                assert isinstance(loop, SkippingLoop)
                loop.skipped += 600
        return chunks

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        chunks = runner.run(scenario())
    assert [chunk.finish_reason for chunk in chunks] == [None, None, None, "length"]
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
        assert len(await consume(queue, GenerationRequest(prompt=[65], max_tokens=3))) > 1

    asyncio.run(scenario())
