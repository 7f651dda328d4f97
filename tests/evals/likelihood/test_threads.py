"""Work in threads: in order, at once, and no more of it than is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Barrier

import pytest

from ayllu.evals.likelihood.threads import Once, in_order


def test_results_come_in_order_from_jobs_that_run_at_a_time() -> None:
    meet = Barrier(3, timeout=30)  # none passes before three are there

    def job(number: int) -> int:
        meet.wait()
        return number

    assert list(in_order((partial(job, number) for number in range(9)), 3)) == list(range(9))


@pytest.mark.parametrize("threads", [1, 2])
def test_whoever_stops_asking_has_few_more_begun(threads: int) -> None:
    begun: list[int] = []
    jobs: list[Callable[[], None]] = [partial(begun.append, number) for number in range(100)]
    found = in_order(jobs, threads)
    next(found)
    found.close()
    assert len(begun) <= 3 * threads


def test_an_error_of_a_job_is_the_askers() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order([lambda: 1, lambda: 1 // 0, lambda: 2], 2))


def test_what_is_made_once_is_made_once() -> None:
    made: list[int] = []
    meet = Barrier(4, timeout=30)

    def make() -> int:
        made.append(1)
        return len(made)

    once = Once(make)

    def ask() -> int:
        meet.wait()
        return once()

    assert list(in_order([ask] * 4, 4)) == [1] * 4
