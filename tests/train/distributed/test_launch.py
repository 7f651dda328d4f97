"""What torchrun is started with, and what is said where one command cannot start a job."""

from __future__ import annotations

import os
import sys

import pytest

from ayllu.lab.error import UserError
from ayllu.train.distributed.launch import processes_missing, start_job
from ayllu.train.distributed.layout import Layout

COMMAND = ("-m", "ayllu.cli", "run", "cria", "--name", "a b")


def test_processes_are_missing_where_nothing_has_started_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert processes_missing(Layout(dp_shard=2))
    assert not processes_missing(Layout())
    monkeypatch.setenv("RANK", "1")
    assert not processes_missing(Layout(dp_shard=2))


def test_torchrun_takes_the_place_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: started.append(words))
    start_job(Layout(dp_shard=2, tp=2), COMMAND)
    assert started == [
        [
            sys.executable,
            *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4", "--max-restarts=3"),
            *COMMAND,
        ]
    ]
    assert int(os.environ.pop("OMP_NUM_THREADS")) == max((os.cpu_count() or 1) // 4, 1)


def test_several_nodes_are_told_what_to_start_on_each() -> None:
    with pytest.raises(UserError, match=r"torchrun --nnodes 2 --nproc-per-node 4 .* run cria --name 'a b'"):
        start_job(Layout(dp_shard=8), COMMAND, nodes=2)
    with pytest.raises(UserError, match="8 devices cannot be shared by 3 nodes"):
        start_job(Layout(dp_shard=8), COMMAND, nodes=3)
