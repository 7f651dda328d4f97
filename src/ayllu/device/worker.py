"""A thread for one part of the chain. What hangs there is given up after a bound, and another thread goes on."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar

from ayllu.lab.error import UserError

P = ParamSpec("P")
T = TypeVar("T")

SECONDS = 12.0
"""What a part may take beside the length of the sound that it is given."""
MOST_LOST = 3
"""So many threads may hang at a time; then nothing is begun until one comes back."""
LEAVING = 2.0
"""Seconds that work under way has to end when the worker is closed: no code may run while Python takes itself down."""


class Stuck(UserError):
    """A part has taken longer than it may, and was given up."""


@dataclass
class _Job:
    work: Callable[[], Any]
    seconds: float
    future: Future[Any] = field(default_factory=Future)
    until: float = float("inf")
    """When it is given up, once it has begun."""


class Worker:
    """Does one thing at a time; `what` is the part's name in a sentence.

    Python can end no thread, so one that hangs is left behind as a daemon: what it gives at last is dropped. Whoever
    waits looks after the job that is under way, be it its own or another's before it.
    """

    def __init__(self, what: str, *, seconds: float = SECONDS) -> None:
        self._what, self._seconds = what, seconds
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._now: _Job | None = None
        self._thread: threading.Thread | None = None
        self._lost = 0

    async def run(self, work: Callable[P, T], /, *args: P.args, **options: P.kwargs) -> T:
        """Do it, with as many seconds as the worker gives. Raises Stuck where it was given up."""
        return await self.within(0.0, partial(work, *args, **options))

    async def within(self, more: float, work: Callable[[], T]) -> T:
        """Do it, with `more` seconds beside those that the worker gives, such as the length of the sound."""
        job = _Job(work, self._seconds + more)
        with self._lock:
            if self._lost >= MOST_LOST:
                raise Stuck(f"{self._what} hangs in {MOST_LOST} threads and is asked no more; start the server again")
            self._jobs.put(job)
            if self._thread is None:
                self._begin()
        future = asyncio.wrap_future(job.future)
        try:
            while not future.done():
                await asyncio.wait([future], timeout=self._left(job))
                self._look()
            return await future
        finally:
            job.future.cancel()  # without effect once it has begun

    def close(self) -> None:
        """Let the thread go, which ends what it has begun if that does not hang."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            thread.join(LEAVING)

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._serve, name=f"ayllu {self._what}", daemon=True)
        self._thread.start()

    def _left(self, job: _Job) -> float:
        """Seconds until there is something to look after."""
        with self._lock:
            until = self._now.until if self._now is not None else time.monotonic() + job.seconds
        return max(0.01, until - time.monotonic())

    def _look(self) -> None:
        """Give up what is under way, if its time is over."""
        with self._lock:
            job = self._now
            if job is None or time.monotonic() < job.until:
                return
            self._now, self._thread, waiting = None, None, []
            self._lost += 1
            if self._lost < MOST_LOST:
                self._begin()
            else:
                waiting = self._drained()
        error = Stuck(f"{self._what} took more than {job.seconds:.0f} seconds and was given up")
        for one in (job, *waiting):
            with suppress(Exception):  # its waiter has gone
                one.future.set_exception(error)

    def _drained(self) -> list[_Job]:
        """What waits, which nobody does any more."""
        found = []
        with suppress(queue.Empty):
            while True:
                if (job := self._jobs.get_nowait()) is not None and job.future.set_running_or_notify_cancel():
                    found.append(job)
        return found

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            with self._lock:
                if not job.future.set_running_or_notify_cancel():
                    continue
                job.until = time.monotonic() + job.seconds
                self._now = job
            value, error = None, None
            try:
                value = job.work()
            except BaseException as raised:
                error = raised
            with self._lock:
                if self._now is not job:  # it was given up, and another thread does what comes after it
                    self._lost -= 1
                    return
                self._now = None
            if error is not None:
                job.future.set_exception(error)
            else:
                job.future.set_result(value)
