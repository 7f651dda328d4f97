"""Continuous batching: answers join at the next token, prompts are read in pieces between the tokens of the others."""

from __future__ import annotations

import queue
import random
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ayllu.model.sampling import Constraint, Sampling
from ayllu.serve.engines.decode import Step
from ayllu.serve.engines.engine import DrawnToken
from ayllu.serve.engines.native.lookup import Lookup
from ayllu.serve.engines.native.pages import PAGE, Held, PagePool

PIECE, ALONE = 64, 256
"""Tokens of prompts in a step, as long as others wait for their next token, and while nobody does."""
FEW, MANY = 4, 8
"""Rows of answers in a step up to which proposals pay, and those of answers of which most come true."""
CLOSED = "the engine is closed"
_ENDED = StopIteration()


class Model(Protocol):
    """What computes a step: the C engine, or a stand-in of tests."""

    def step(self, rows: Sequence[Row], wanted: Sequence[int]) -> None:
        """Compute all rows; logits are kept of the `wanted` ones, in that order."""
        ...

    def pick(self, place: int, answer: Answer) -> int | DrawnToken:
        """Draw the id that follows the row at `place` of the wanted ones; with what `answer` wants told of it."""
        ...

    def told(self, place: int, token: int, count: int) -> DrawnToken:
        """How likely `token` is behind the row at `place`, and the `count` likeliest; before an id is drawn there."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One token of one sequence."""

    id: int
    position: int
    pages: Sequence[int]
    adapter: int = -1
    """Number of the adapter that it is computed with; -1 for none."""


@dataclass(kw_only=True, eq=False)
class Answer:
    """A sequence under way, and where its tokens go."""

    ids: list[int]
    prompt: int
    """How many of `ids` were given."""
    written: int = 0
    """How many of those, the last ones, an earlier turn has drawn."""
    most: int
    """Most ids to generate."""
    sampling: Sampling
    stops: frozenset[int]
    cancelled: threading.Event
    chance: random.Random = field(default_factory=random.Random)
    constraint: Constraint | None = None
    logprobs: int | None = None
    """As in the request: how many of the likeliest ids are told."""
    prompt_logprobs: bool = False
    """As in the request: whether the ids of the prompt are told too."""
    arrived: queue.SimpleQueue[Step | Exception] = field(default_factory=queue.SimpleQueue)
    """Ids as they are drawn, None or what is told of it after each piece of the prompt, and at the end what ended it.

    Nothing comes after the last piece where nothing is told.
    """
    computed: int = 0
    """Ids whose keys and values are there."""
    cached: int = 0
    """Ids of the prompt whose keys and values were there when it was let in."""
    adapter: int = -1
    """As of its rows."""
    held: Held | None = None
    lookup: Lookup = field(default_factory=Lookup)

    @property
    def left(self) -> int:
        """Ids that may still be generated."""
        return self.prompt + self.most - len(self.ids)

    @property
    def complete(self) -> bool:
        """Whether the constraint lets nothing follow."""
        return self.constraint is not None and self.constraint.ended

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

    def answer(self, asked: Answer) -> Iterator[Step]:
        """The ids of an answer as they come, and what comes after each piece of the prompt; see `Answer.arrived`."""
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
            shared = not asked.prompt_logprobs
            room = asked.prompt + asked.most
            asked.held = self._pool.begin(asked.ids, room, shared=shared, adapter=asked.adapter)
            if asked.held is None and self._active:
                return
            self._waiting.popleft()
            if asked.held is None:
                self._end(asked, RuntimeError(f"there is no room for {asked.prompt + asked.most} tokens"))
                continue
            asked.computed = asked.cached = len(asked.held.pages) * PAGE
            self._active.append(asked)

    def _step(self) -> None:
        for asked in list(self._active):
            if asked.cancelled.is_set():
                self._end(asked)
        rows: list[Row] = []
        wanted: list[int] = []
        drawing: list[tuple[Answer, int, list[int]]] = []
        """Who draws, from which of the wanted rows on, and what is proposed to follow."""
        pieces: list[tuple[Answer, int]] = []
        told: dict[Answer, int] = {}
        reading = sum(asked.reads for asked in self._active)
        left = ALONE if reading == len(self._active) else PIECE
        taken = MANY if reading else len(self._active)
        for asked in sorted(self._active, key=lambda one: one.reads):
            piece = min(left, PIECE) if asked.prompt_logprobs else left  # a row of logits is large
            count = min(len(asked.ids) - asked.computed, piece if asked.reads else 1)
            if count < 1:
                continue
            left -= count if asked.reads else 0
            room = min((MANY if asked.lookup.sure else FEW) - taken, asked.left - 1)
            proposed = asked.lookup.propose(asked.ids, room) if room > 0 else []
            taken += len(proposed)
            rows += self._rows(asked, count, proposed)
            last = len(rows) - len(proposed)
            pieces.append((asked, count))
            if asked.prompt_logprobs and asked.computed < asked.prompt - 1:
                # Behind each row but the last of the prompt stands an id of it.
                told[asked] = len(wanted)
                behind = min(count, asked.prompt - 1 - asked.computed)
                wanted += range(last - count, last - count + behind)
            if asked.computed + count == len(asked.ids):
                drawing.append((asked, len(wanted), proposed))
                wanted += range(last - 1, len(rows))
        if not rows:
            return
        self._model.step(rows, wanted)
        for asked, count in pieces:
            self._know(asked, count)
            if asked in told:
                asked.arrived.put(self._told(asked, told[asked], asked.computed - count, count))
            elif asked.computed < len(asked.ids):
                asked.arrived.put(None)
        for asked, place, proposed in drawing:
            try:
                self._draw_all(asked, place, proposed)
            except Exception as error:
                self._end(asked, error)  # the others' numbers are their own
        # Whoever read a piece goes behind the others who read, however short their prompts: those wait a round at most.
        served = [asked for asked, _ in pieces]
        self._active.sort(key=served.__contains__)

    def _rows(self, asked: Answer, count: int, proposed: Sequence[int]) -> list[Row]:
        assert asked.held is not None
        first = asked.computed
        ids = [*asked.ids[first : first + count], *proposed]
        self._pool.grow(asked.held, first + len(ids))
        return [
            Row(id=token, position=first + at, pages=asked.held.pages, adapter=asked.adapter)
            for at, token in enumerate(ids)
        ]

    def _know(self, asked: Answer, count: int) -> None:
        """Keys and values of `count` more of its ids are there."""
        assert asked.held is not None
        asked.computed += count
        if asked.computed % PAGE < count:
            self._pool.learn(asked.held, asked.ids[: asked.computed])

    def _told(self, asked: Answer, place: int, first: int, count: int) -> tuple[DrawnToken, ...]:
        """The ids behind the `count` rows from the one at position `first`, whose logits begin at `place`."""
        ids = asked.ids[first + 1 : min(first + count + 1, asked.prompt)]
        return tuple(self._model.told(place + at, token, asked.logprobs or 0) for at, token in enumerate(ids))

    def _draw_all(self, asked: Answer, place: int, proposed: Sequence[int]) -> None:
        """Draw what follows; and, as long as it is what was proposed, what follows that."""
        taken = 0
        while True:
            token = self._draw(place + taken, asked)
            if asked.held is None or taken == len(proposed) or token != proposed[taken]:
                break
            taken += 1
            self._know(asked, 1)
        if proposed:
            asked.lookup.learn(len(proposed), taken)

    def _draw(self, place: int, asked: Answer) -> int:
        drawn = self._model.pick(place, asked)
        token = drawn.id if isinstance(drawn, DrawnToken) else drawn
        if token in asked.stops:
            self._end(asked)
            return token
        if asked.constraint is not None:
            asked.constraint.advance(token)
        asked.ids.append(token)
        asked.arrived.put(drawn)
        if not asked.left or asked.complete:
            self._end(asked)
        return token

    def _end(self, asked: Answer, why: Exception = _ENDED) -> None:
        if asked in self._active:
            self._active.remove(asked)
        if asked.held is not None:
            self._pool.end(asked.held)
            asked.held = None
        asked.arrived.put(why)
