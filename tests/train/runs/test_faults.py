"""Processes that die, hang or are told to leave: started again, they end with the losses of an unbroken run."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from support.programs import PROGRAMS
from support.programs.layouts import tokens as counting
from support.training import jobs

PROGRAM = PROGRAMS / "chaos.py"


def start(tokens: Path, folder: Path, *words: str, layout: str = "dp_shard=2,micro_batch=4") -> BaseProcess:
    folder.mkdir(parents=True, exist_ok=True)
    # Looking after the workers every 0.1 s instead of every 0.1 to 5: dead ones come back sooner.
    torchrun = ["--standalone", "--nproc-per-node=2", "--max-restarts=40", "--monitor-interval=0.1"]
    return jobs.start(PROGRAM, str(tokens), str(folder), layout, *words, log=folder / "log", torchrun=torchrun)


def finish(process: BaseProcess, folder: Path) -> list[float]:
    jobs.finish(process, folder / "log", seconds=300)
    return json.loads((folder / "losses.json").read_text())


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, BaseProcess]]:
    """A run that hangs and is started again. It waits most of its time, so that it begins before the others."""
    folder = tmp_path_factory.mktemp("faults")
    counting(folder / "tokens")
    process = start(folder / "tokens", folder / "hung", "hang")
    yield folder, process
    process.terminate()
    process.join(60)


@pytest.fixture(scope="module")
def unbroken(hanging: tuple[Path, BaseProcess]) -> tuple[Path, list[float]]:
    folder, _ = hanging
    return folder, finish(start(folder / "tokens", folder / "unbroken"), folder / "unbroken")


def workers(process: BaseProcess) -> list[int]:
    """The training processes that torchrun has running."""
    return [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def kill_at_random(process: BaseProcess, folder: Path, times: int, seed: int) -> int:
    """Kill one worker after another, each some time after a new checkpoint was written; returns how many."""
    chance, kills, seen = random.Random(seed), 0, ""
    while process.exitcode is None and kills < times:
        newest = max((p.name for p in (folder / "checkpoints").glob("step-*")), default="")
        if newest > seen:
            seen = newest
            time.sleep(chance.uniform(0, 0.5))
            alive = workers(process)
            if alive:
                os.kill(chance.choice(alive), signal.SIGKILL)
                kills += 1
                time.sleep(1)
        time.sleep(0.02)
    return kills


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_workers_cost_only_time(unbroken: tuple[Path, list[float]], times: int) -> None:
    folder, expected = unbroken
    process = start(folder / "tokens", folder / f"killed-{times}")
    assert kill_at_random(process, folder / f"killed-{times}", times, seed=times) == times
    assert finish(process, folder / f"killed-{times}") == expected


def test_a_worker_that_hangs_is_found_and_started_again(
    unbroken: tuple[Path, list[float]], hanging: tuple[Path, BaseProcess]
) -> None:
    folder, expected = unbroken
    assert finish(hanging[1], folder / "hung") == expected
    stacks = (folder / "hung" / "logs" / "hang-rank-0.txt").read_text()
    assert "Timeout (0:00:10)!" in stacks
    assert "in batch" in stacks
    assert "rank 0 hung before" in (folder / "hung" / "log").read_text()


def test_told_to_leave_it_keeps_a_checkpoint_and_leaves_with_success(unbroken: tuple[Path, list[float]]) -> None:
    folder, expected = unbroken
    process = start(folder / "tokens", folder / "told")
    while not list((folder / "told").glob("checkpoints/step-*")):
        time.sleep(0.05)
    for worker in workers(process):
        os.kill(worker, signal.SIGTERM)
    jobs.finish(process, folder / "told" / "log", seconds=60)
    assert not (folder / "told" / "losses.json").exists()
    assert finish(
        start(folder / "tokens", folder / "told", layout="pp=2,micro_batch=4"), folder / "told"
    ) == pytest.approx(expected, 1e-3)
