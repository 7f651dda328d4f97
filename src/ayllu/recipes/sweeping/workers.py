"""Trials side by side: jobs of a scheduler, each of which trains a part of a sweep's trials into the same home.

The sweep itself then asks for one trial after the other as ever, and finds them made. A worker that is killed is
started again by its scheduler, one that fails costs nothing but time: what it has not made, the sweep makes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

from ayllu.fleet.launch.batch_job import BatchJob
from ayllu.fleet.launch.records import OPEN, Record, find, launch
from ayllu.lab.error import Stopped, UserError
from ayllu.lab.progress import say

POLL_SECONDS = 2.0
MOST_MISSED = 150
"""Times in a row that a scheduler may fail to say how a job stands: five minutes."""
Scheduler = Literal["local", "slurm", "ray"]


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How many, and who starts them."""

    count: int
    on: Scheduler = "local"
    queue: str | None = None
    """Partition of Slurm."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"workers is {self.count}; it must be at least 1")


def train_ahead(
    recipe: str,
    options: Sequence[str],
    home: Path,
    workers: Workers,
    *,
    sweep: str,
    team: str | None = None,
    wait: Callable[[], None] = lambda: time.sleep(POLL_SECONDS),
) -> None:
    """Let workers train all trials of the sweep that `ayllu sweep RECIPE OPTIONS` is, and wait for them.

    Those that still run from before are waited for too. Whatever ends the waiting ends them. They start in this
    folder, where the options' paths mean the same; the address of a team's store is absolute.
    """
    cores = max(1, (os.cpu_count() or 1) // workers.count)
    # Else each takes all cores of a machine that they share.
    environment = {"OMP_NUM_THREADS": str(cores)} if workers.on == "local" else {}
    environment |= {"AYLLU_TEAM": team} if team else {}
    jobs: list[Record] = []
    missed: Counter[str] = Counter()
    with _ended_with_the_sweep(jobs), _stoppable(sweep):
        for number in range(1, workers.count + 1):
            words = (*options, "--home", str(home), "--part", f"{number}/{workers.count}")
            job = BatchJob(
                recipe=recipe,
                name=f"sweep-{sweep}-{number}",
                folder=home,
                from_folder=Path.cwd(),  # a path is part of a key as it was typed
                options=words,
                action="sweep",
                queue=workers.queue,
                environment=environment,
            )
            jobs.append(_running(job) or launch(workers.on, job))
        say(f"sweep {sweep}: {workers.count} workers on {workers.on}; their logs lie in {jobs[0].folder.parent}")
        while jobs:
            wait()
            for started in list(jobs):
                state = _state(started, missed)
                if state not in OPEN:
                    jobs.remove(started)
                    say(f"sweep {sweep}: {started.name} {state}; {len(jobs)} are still at it")


@contextlib.contextmanager
def _ended_with_the_sweep(jobs: Sequence[Record]) -> Iterator[None]:
    """End the jobs that are left where the waiting for them ends early."""
    try:
        yield
    except BaseException:
        for started in jobs:
            with contextlib.suppress(UserError, OSError):
                started.cancel()
        raise


@contextlib.contextmanager
def _stoppable(sweep: str) -> Iterator[None]:
    """SIGTERM as an exception, so that it ends the workers and not this process alone."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(f"the sweep {sweep} was stopped while its workers trained; the same command goes on")

    if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _state(started: Record, missed: Counter[str]) -> str:
    """How a job stands; as it stood, where its scheduler does not say so for a while."""
    try:
        state = started.status().state
    except UserError:
        missed[started.name] += 1
        if missed[started.name] > MOST_MISSED:
            raise
        return OPEN[-1]
    missed[started.name] = 0
    return state


def _running(job: BatchJob) -> Record | None:
    """The same job from before, where it still waits or runs."""
    try:
        found = find(job.folder, job.name)
    except UserError:
        return None
    return found if found.status().state in OPEN else None
