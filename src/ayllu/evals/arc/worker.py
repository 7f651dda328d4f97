"""A process that solves puzzles: a line with a puzzle on stdin, a line with answers on stdout, until stdin ends.

What is a process of its own ends with whoever started it, for then its stdin ends, even where that one was killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np

from ayllu.evals.arc.solve import SolverConfig, solve
from ayllu.evals.arc.tasks import Grid, Pair, Puzzle
from ayllu.lab.error import UserError

Answers = list[list[Grid]]
"""At most two grids to each grid that is asked."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Products are small: two puzzles at once are done sooner than one by two threads."""


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started it, who ends it
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.monotonic()
        answers = solve(_puzzle(asked["puzzle"]), SolverConfig(**asked["config"]))
        told = {"answers": [[grid.tolist() for grid in grids] for grids in answers]}
        sys.stdout.write(json.dumps({**told, "seconds": round(time.monotonic() - began, 2)}) + "\n")
        sys.stdout.flush()


def solve_all(
    puzzles: Sequence[Puzzle], config: Mapping[str, Any], *, processes: int
) -> Iterator[tuple[Puzzle, Answers, float]]:
    """Each puzzle with its answers and the seconds that it took, as they come, out of `processes` workers at a time."""
    idle: SimpleQueue[Callable[[Puzzle], tuple[Answers, float]]] = SimpleQueue()

    def one(puzzle: Puzzle) -> tuple[Puzzle, Answers, float]:
        ask = idle.get()
        try:
            return puzzle, *ask(puzzle)
        finally:
            idle.put(ask)

    with ExitStack() as stack:
        # What is entered first is left last: workers end before anyone waits for the threads that read from them.
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=processes))
        for _ in range(min(processes, len(puzzles))):
            command = [sys.executable, "-m", __name__]
            worker = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | ONE_THREAD
            )
            stack.callback(_end, worker)
            idle.put(partial(_ask, worker, config))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        for done in as_completed([pool.submit(one, puzzle) for puzzle in puzzles]):
            yield done.result()


def _end(worker: subprocess.Popen[str]) -> None:
    """End a worker, whatever it does; what it has not read of a puzzle goes nowhere."""
    worker.kill()
    worker.wait()
    for stream in (worker.stdin, worker.stdout):
        with suppress(BrokenPipeError):
            if stream is not None:
                stream.close()


def _ask(worker: subprocess.Popen[str], config: Mapping[str, Any], puzzle: Puzzle) -> tuple[Answers, float]:
    assert worker.stdin is not None and worker.stdout is not None
    # Without the answers: a worker cannot look at what it does not have.
    shown = [[pair.given.tolist(), pair.wanted.tolist()] for pair in puzzle.shown]
    about = {"id": puzzle.id, "shown": shown, "asked": [pair.given.tolist() for pair in puzzle.asked]}
    line = ""
    with suppress(BrokenPipeError):
        worker.stdin.write(json.dumps({"puzzle": about, "config": dict(config)}) + "\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
    if not line:
        raise UserError(
            f"the process that solved {puzzle.id} ended with {worker.wait()}: run the same command again, which goes on"
        )
    told = json.loads(line)
    return [[np.array(grid, np.int8) for grid in grids] for grids in told["answers"]], told["seconds"]


def _puzzle(about: Mapping[str, Any]) -> Puzzle:
    return Puzzle(
        id=about["id"],
        shown=tuple(Pair(given=_grid(given), wanted=_grid(wanted)) for given, wanted in about["shown"]),
        asked=tuple(Pair(given=_grid(given), wanted=np.zeros((1, 1), np.int8)) for given in about["asked"]),
    )


def _grid(rows: Sequence[Sequence[int]]) -> Grid:
    return np.array(rows, np.int8)


if __name__ == "__main__":
    main()
