"""Continuous batching: answers join at the next token, prompts are read in pieces between the tokens of the others."""

from __future__ import annotations

import queue
import random
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ayllu.model.generate import Sampling
from ayllu.serve.engines.native.pages import PAGE, Held, PagePool

PIECE = 64
"""Tokens of prompts in a step: as long as others wait for their next token."""
CLOSED = "the engine is closed"
_ENDED = StopIteration()


class Model(Protocol):
    """What computes a step: the C engine, or a stand-in of tests."""

    def step(self, rows: Sequence[Row], wanted: Sequence[int]) -> None:
        """Compute all rows; logits are kept of the `wanted` ones, in that order."""
        ...

    def pick(self, place: int, answer: Answer) -> int:
        """Draw the id that follows the row at `place` of the wanted ones."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One token of one sequence."""

    id: int
    position: int
    pages: Sequence[int]


@dataclass(kw_only=True, eq=False)
class Answer:
    """A sequence under way, and where its tokens go."""

    ids: list[int]
    prompt: int
    """How many of `ids` were given."""
    most: int
    """Most ids to generate."""
    sampling: Sampling
    stops: frozenset[int]
    cancelled: threading.Event
    chance: random.Random = field(default_factory=random.Random)
    arrived: queue.SimpleQueue[int | Exception | None] = field(default_factory=queue.SimpleQueue)
    """Ids as they are drawn, None after each piece of the prompt but the last, and at the end what ended it."""
    computed: int = 0
    """Ids whose keys and values are there."""
    held: Held | None = None

    @property
    def reads(self) -> bool:
        """Whether its prompt is still being read."""
        return len(self.ids) - self.computed > 1


class Scheduler:
    """One thread that computes the answers of all callers together."""

    def __init__(self, model: Model, pool: PagePool, *, parallel: int) -> None:
        self._model, self._pool, self._parallel = model, pool, parallel
        self._waiting: deque[Answer] = deque()
        self._active: list[Answer] = []
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="native engine", daemon=True)
        self._thread.start()

    def answer(self, asked: Answer) -> Iterator[int | None]:
        """The ids of an answer as they come, and None after each piece of the prompt but the last."""
        with self._changed:
            if self._closing:
                raise RuntimeError(CLOSED)
            self._waiting.append(asked)
            self._changed.notify()
        try:
            while True:
                token = asked.arrived.get()
                if token is _ENDED:
                    return
                if isinstance(token, Exception):
                    raise token
                yield token
        except GeneratorExit:
            # Nobody wants the rest. An answer that has ended by itself is not a cancelled one: it has a last chunk.
            asked.cancelled.set()
            raise

    def close(self) -> None:
        """End what is under way, with an error for those who still listen; the thread is gone when this returns."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._active or self._closing):
                    self._changed.wait()
                if self._closing:
                    for asked in [*self._active, *self._waiting]:
                        self._end(asked, _ENDED if asked.cancelled.is_set() else RuntimeError(CLOSED))
                    return
                self._admit()
            try:
                self._step()
            except Exception as error:
                for asked in list(self._active):
                    self._end(asked, error)

    def _admit(self) -> None:
        """Let in whoever waits, in order, as long as there is room; who has left is let go, wherever in the line."""
        for asked in [one for one in self._waiting if one.cancelled.is_set()]:
            self._waiting.remove(asked)
            self._end(asked)
        while self._waiting and len(self._active) < self._parallel:
            asked = self._waiting[0]
            asked.held = self._pool.begin(asked.ids, asked.prompt + asked.most)
            if asked.held is None and self._active:
                return
            self._waiting.popleft()
            if asked.held is None:
                self._end(asked, RuntimeError(f"there is no room for {asked.prompt + asked.most} tokens"))
                continue
            asked.computed = len(asked.held.pages) * PAGE
            self._active.append(asked)

    def _step(self) -> None:
        for asked in list(self._active):
            if asked.cancelled.is_set():
                self._end(asked)
        rows: list[Row] = []
        drawn: list[Answer] = []
        wanted: list[int] = []
        pieces: list[tuple[Answer, int]] = []
        left = PIECE
        for asked in sorted(self._active, key=lambda one: one.reads):
            count = min(len(asked.ids) - asked.computed, left if asked.reads else 1)
            if count < 1:
                continue
            left -= count if asked.reads else 0
            rows += self._rows(asked, count)
            pieces.append((asked, count))
            if asked.computed + count == len(asked.ids):
                drawn.append(asked)
                wanted.append(len(rows) - 1)
        if not rows:
            return
        self._model.step(rows, wanted)
        for asked, count in pieces:
            asked.computed += count
            assert asked.held is not None
            self._pool.learn(asked.held, asked.ids[: asked.computed])
            if asked.computed < len(asked.ids):
                asked.arrived.put(None)
        for place, asked in enumerate(drawn):
            try:
                self._draw(place, asked)
            except Exception as error:
                self._end(asked, error)  # the others' numbers are their own
        # Whoever read a piece goes behind the others who read, however short their prompts: those wait a round at most.
        served = [asked for asked, _ in pieces]
        self._active.sort(key=served.__contains__)

    def _rows(self, asked: Answer, count: int) -> list[Row]:
        assert asked.held is not None
        self._pool.grow(asked.held, asked.computed + count)
        first = asked.computed
        return [Row(id=asked.ids[at], position=at, pages=asked.held.pages) for at in range(first, first + count)]

    def _draw(self, place: int, asked: Answer) -> None:
        token = self._model.pick(place, asked)
        if token in asked.stops:
            self._end(asked)
            return
        asked.ids.append(token)
        asked.arrived.put(token)
        if len(asked.ids) - asked.prompt == asked.most:
            self._end(asked)

    def _end(self, asked: Answer, why: Exception = _ENDED) -> None:
        if asked in self._active:
            self._active.remove(asked)
        if asked.held is not None:
            self._pool.end(asked.held)
            asked.held = None
        asked.arrived.put(why)
