"""Launching on a real Ray cluster of two nodes on this machine: a job that is killed starts again on both."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import ayllu
from ayllu.fleet.launch import records
from ayllu.fleet.launch.job import Job
from ayllu.lab.error import UserError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ray") is None, reason="Ray is not installed (pip install 'ray[default]')"),
]


def free_port() -> int:
    with socket.socket() as entry:
        entry.bind(("127.0.0.1", 0))
        return int(entry.getsockname()[1])


@pytest.fixture
def ray_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose `bin` is in front of the path, while two Ray nodes run."""
    (tmp_path / "bin").mkdir()
    port, dashboard = free_port(), free_port()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(ayllu.__file__).parents[1]))
    monkeypatch.setenv("RAY_ADDRESS", f"http://127.0.0.1:{dashboard}")
    start = ["ray", "start", "--block", "--num-cpus=2", "--disable-usage-stats"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    head = ["--head", "--node-ip-address=127.0.0.1", f"--port={port}", f"--dashboard-port={dashboard}"]
    nodes = []
    try:
        for words in ([*head, f"--temp-dir=/tmp/ayllu-ray-{os.getpid()}"], [f"--address=127.0.0.1:{port}"]):
            log = (tmp_path / f"ray-{len(nodes)}.out").open("wb")
            nodes.append(
                subprocess.Popen([*start, *words], env=environment, stdout=log, stderr=log, start_new_session=True)
            )
            end = time.monotonic() + 120
            while time.monotonic() < end:
                with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{dashboard}/api/version"):
                    break
                time.sleep(0.5)
        yield tmp_path
    finally:
        for node in reversed(nodes):
            with suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                node.wait(timeout=20)
            with suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
        shutil.rmtree(f"/tmp/ayllu-ray-{os.getpid()}", ignore_errors=True)


def test_a_job_on_two_nodes_that_is_killed_starts_again(ray_folder: Path) -> None:
    tool = ray_folder / "bin" / "torchrun"
    tool.write_text('#!/bin/sh\necho "start $*" >> starts\nif mkdir once 2>/dev/null; then kill -9 $$; fi\necho fine\n')
    tool.chmod(0o755)
    job = Job(recipe="smol", name="smol", folder=ray_folder, nodes=2, restarts=2)
    end = time.monotonic() + 300
    while True:
        try:
            record = records.launch("ray", job)
            break
        except UserError as error:
            # The node's agent comes up some seconds after the cluster.
            assert "No available agent" in str(error)
            assert time.monotonic() < end
            time.sleep(2)
    while record.status().state not in ("finished", "failed"):
        assert time.monotonic() < end, record.logs()
        time.sleep(1)
    assert record.status().state == "finished", record.logs()
    starts = (ray_folder / "starts").read_text().splitlines()
    assert len(starts) == 4, "both nodes, twice"
    assert all("--nnodes=2" in line and line.endswith("-m ayllu.cli run smol") for line in starts)
