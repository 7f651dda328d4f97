"""What hangs in a thread is given up, and what comes after it is done by another one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from ayllu.device.worker import MOST_LOST, Stuck, Worker


def run(work: Coroutine[Any, Any, Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(bounded())


def test_one_thing_at_a_time_in_order_and_an_error_is_the_callers() -> None:
    worker, done = Worker("the part"), []

    def work(number: int) -> int:
        done.append((number, threading.current_thread().name))
        if number == 2:
            raise KeyError("two")
        return number

    async def scenario() -> list[Any]:
        return await asyncio.gather(*(worker.run(work, number) for number in range(4)), return_exceptions=True)

    found = run(scenario())
    worker.close()
    assert [found[0], found[1], found[3]] == [0, 1, 3] and isinstance(found[2], KeyError)
    assert [number for number, _ in done] == [0, 1, 2, 3] and {name for _, name in done} == {"ayllu the part"}


def test_what_hangs_is_given_up_and_the_next_is_done_though_nobody_waits_for_the_first() -> None:
    free, worker = threading.Event(), Worker("the part", seconds=0.2)

    async def scenario() -> None:
        with pytest.raises(Stuck, match=r"^the part took more than 0 seconds and was given up$"):
            await worker.run(free.wait)
        left = asyncio.ensure_future(worker.run(free.wait))
        await asyncio.sleep(0.05)
        left.cancel()  # as when its session ends
        assert await worker.run(lambda: "done") == "done"

    run(scenario())
    free.set()
    worker.close()


def test_too_many_that_hang_are_refused_at_once_until_one_comes_back() -> None:
    frees = [threading.Event() for _ in range(MOST_LOST)]
    worker, done = Worker("the part", seconds=0.1), []

    async def scenario() -> None:
        hung = [asyncio.ensure_future(worker.run(free.wait)) for free in frees]
        waiting = asyncio.ensure_future(worker.run(done.append, "behind them"))
        ended = await asyncio.gather(*hung, waiting, return_exceptions=True)
        assert all(isinstance(one, Stuck) for one in ended) and not done
        with pytest.raises(Stuck, match=r"start the server again$"):
            await worker.run(done.append, "refused")
        frees[0].set()
        while True:
            try:
                await worker.run(done.append, "well again")
                return
            except Stuck:
                await asyncio.sleep(0.01)

    run(scenario())
    assert done == ["well again"]
    for free in frees:
        free.set()
    worker.close()


def test_more_time_is_given_for_more_sound_and_waiting_in_line_does_not_count() -> None:
    worker = Worker("the part", seconds=0.3)

    async def scenario() -> list[Any]:
        return await asyncio.gather(*(worker.within(5.0, lambda: time.sleep(0.25)) for _ in range(4)))

    assert run(scenario()) == [None] * 4
    worker.close()
