"""The scheduler with a model that only counts: whose turn it is, and how answers end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from ayllu.model.sampling import Sampling
from ayllu.serve.engines.native.pages import PAGE, PagePool
from ayllu.serve.engines.native.scheduler import ALONE, Answer, Row, Scheduler

STOP = 1


class Counting:
    """Says 7 for ever, or an answer's `STOP` after `ends_after` tokens; waits for leave before each step."""

    def __init__(self, ends_after: int = 1 << 30) -> None:
        self.ends_after = ends_after
        self.steps: list[list[Row]] = []
        self.leave = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)

    def step(self, rows: Sequence[Row], wanted: Sequence[int]) -> None:
        del wanted
        self.steps.append(list(rows))
        self.begun.release()
        self.leave.acquire()

    def pick(self, place: int, answer: Answer) -> int:
        del place
        if answer.ids[0] == 666:
            raise ValueError("no numbers")
        return STOP if len(answer.ids) - answer.prompt >= self.ends_after else 7


def asked(length: int, *, first: int = 5, most: int = 1) -> Answer:
    return Answer(
        ids=[first, *range(10, 9 + length)],
        prompt=length,
        most=most,
        sampling=Sampling(),
        stops=frozenset({STOP}),
        cancelled=threading.Event(),
    )


class Table:
    """A scheduler, and the answers that were asked of it, each in a thread of its own."""

    def __init__(self, model: Counting, *, pages: int = 1000, parallel: int = 4) -> None:
        self.model, self.scheduler = model, Scheduler(model, PagePool(pages), parallel=parallel)
        self.ended: dict[int, threading.Event] = {}
        self.tokens: dict[int, list[int | None]] = {}
        self.errors: dict[int, Exception] = {}

    def ask(self, answer: Answer) -> Answer:
        key = id(answer)
        self.ended[key], self.tokens[key] = threading.Event(), []

        def listen() -> None:
            try:
                for token in self.scheduler.answer(answer):
                    self.tokens[key].append(token)
            except Exception as error:
                self.errors[key] = error
            self.ended[key].set()

        threading.Thread(target=listen, daemon=True).start()
        scheduler = self.scheduler
        while not (answer in scheduler._waiting or answer in scheduler._active or self.ended[key].is_set()):
            time.sleep(0.001)
        return answer

    def end_of(self, answer: Answer) -> bool:
        return self.ended[id(answer)].wait(10)

    def steps(self, count: int) -> None:
        for _ in range(count):
            assert self.model.begun.acquire(timeout=10)
            self.model.leave.release()


@pytest.fixture
def tables() -> Iterator[list[Table]]:
    made: list[Table] = []
    yield made
    for table in made:
        table.model.leave.release(10_000)
        table.scheduler.close()


def test_an_answer_that_the_model_ends_is_not_a_cancelled_one(tables: list[Table]) -> None:
    tables.append(table := Table(Counting(ends_after=2)))
    answer = table.ask(asked(3, most=9))
    table.steps(3)
    assert table.end_of(answer) and table.tokens[id(answer)] == [7, 7]
    assert not answer.cancelled.is_set()


def test_who_leaves_while_waiting_is_let_go_at_once(tables: list[Table]) -> None:
    """Behind another who waits for pages, too, and while no place is free."""
    for pages, parallel in ((4, 4), (1000, 1)):
        tables.append(table := Table(Counting(), pages=pages, parallel=parallel))
        table.ask(asked(2, most=3 * PAGE))
        assert table.model.begun.acquire(timeout=10)
        head = table.ask(asked(2, most=3 * PAGE))
        behind = table.ask(asked(2, most=3 * PAGE))
        behind.cancelled.set()
        table.model.leave.release()
        table.steps(2)
        assert table.end_of(behind)
        assert not table.ended[id(head)].is_set()


def test_a_long_prompt_is_read_however_many_short_ones_come(tables: list[Table]) -> None:
    tables.append(table := Table(Counting()))
    long = table.ask(asked(5 * ALONE, first=1000))
    for number in range(16):
        table.ask(asked(ALONE, first=2000 + number))
        table.steps(1)
    assert table.end_of(long)


def test_one_answer_without_numbers_ends_alone(tables: list[Table]) -> None:
    tables.append(table := Table(Counting()))
    other = table.ask(asked(3, most=4))
    assert table.model.begun.acquire(timeout=10)
    broken = table.ask(asked(3, first=666, most=4))
    table.model.leave.release()
    table.steps(3)
    assert table.end_of(other) and table.tokens[id(other)] == [7, 7, 7, 7]
    assert table.end_of(broken) and "no numbers" in str(table.errors[id(broken)])


def test_closing_tells_those_who_listen_and_nobody_who_left(tables: list[Table]) -> None:
    tables.append(table := Table(Counting()))
    listening = table.ask(asked(3, most=50))
    left = table.ask(asked(3, most=50))
    table.steps(2)
    assert table.model.begun.acquire(timeout=10)
    left.cancelled.set()
    closing = threading.Thread(target=table.scheduler.close)
    closing.start()
    while not table.scheduler._closing:
        time.sleep(0.001)
    table.model.leave.release(2)
    closing.join(10)
    assert table.end_of(listening) and table.end_of(left)
    assert "closed" in str(table.errors[id(listening)]) and id(left) not in table.errors
    with pytest.raises(RuntimeError, match="closed"):
        next(table.scheduler.answer(asked(3)))
