"""Launching on a real Ray cluster of two nodes on this machine: a killed job starts again on both, logs, cancelling.

The nodes speak over the loopback, and only to who knows a token of this run: some of Ray's servers listen on every
interface whatever they are told. Everything is in a temporary folder, and gone afterwards, stray workers included.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import ayllu
from ayllu.fleet.launch import records
from ayllu.fleet.launch.batch_job import BatchJob
from ayllu.fleet.launch.records import Record
from ayllu.lab.error import UserError
from support.parts import need

BIN = Path(sys.executable).parent
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
SECONDS = 240
"""For everything; a machine that is busy with other work takes several times the 25 s of a quiet one."""

need((BIN / "ray").exists(), "Ray is not installed (it is in the dev extra)")


def free_ports(count: int) -> list[int]:
    """Ports that were free together, so that no two are the same."""
    with ExitStack() as held:
        entries = [held.enter_context(socket.socket()) for _ in range(count)]
        for entry in entries:
            entry.bind(("127.0.0.1", 0))
        return [int(entry.getsockname()[1]) for entry in entries]


def end_strays(mark: str) -> None:
    """Kill what still runs with `mark`, the cluster's own folder, in its command line or its environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of two Ray nodes that share this machine."""
    port, dashboard, *agents = free_ports(4)
    # A socket's path has at most 107 characters, and pytest's folders are too long for what Ray puts below.
    temporary = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {
        "PATH": f"{BIN}:{environment['PATH']}",
        "PYTHONPATH": str(Path(ayllu.__file__).parents[1]),
        "RAY_TMPDIR": temporary,
        **TOKEN,
    }
    common = ["--block", "--node-ip-address=127.0.0.1", "--num-cpus=2", "--num-gpus=0", "--disable-usage-stats"]
    head = ["--head", f"--temp-dir={temporary}", f"--port={port}"]
    head += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    nodes = []
    try:
        for agent, own in zip(agents, (head, [f"--address=127.0.0.1:{port}"]), strict=True):
            words = [str(BIN / "ray"), "start", *common, *own, f"--dashboard-agent-listen-port={agent}"]
            with (Path(temporary) / f"start-{agent}.out").open("wb") as log:
                nodes.append(
                    subprocess.Popen(
                        words, env=environment, stdout=log, stderr=log, start_new_session=True, cwd=temporary
                    )
                )
            wait_for_port(port)
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        for node in nodes:
            with suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
            node.wait()
        end_strays(temporary)
        shutil.rmtree(temporary, ignore_errors=True)


def wait_for_port(port: int) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    pytest.fail(f"nothing listens on port {port}")


@pytest.fixture
def folder(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    for name, value in (TOKEN | {"RAY_ADDRESS": cluster}).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def launch(folder: Path, script: str, **given: int) -> Record:
    """A job of two nodes in whose path `script` stands in for torchrun."""
    tool = folder / "bin" / "torchrun"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{script}")
    tool.chmod(0o755)
    environment = {"PATH": f"{tool.parent}:{os.environ['PATH']}"}
    job = BatchJob(recipe="smol", name="smol", folder=folder, nodes=2, environment=environment, **given)
    end = time.monotonic() + SECONDS
    while True:
        try:
            return records.launch("ray", job)
        except UserError as error:
            # The dashboard and the nodes' agents come up some seconds after the cluster.
            assert any(said in str(error) for said in ("No available agent", "onnect")), error
            assert time.monotonic() < end, error
            time.sleep(0.5)


def wait_for(record: Record, *states: str) -> str:
    end = time.monotonic() + SECONDS
    while (state := record.status().state) not in states:
        assert time.monotonic() < end, record.logs()
        assert state in ("queued", "running"), f"{state}: {record.logs()}"
        time.sleep(0.2)
    return state


def test_a_job_on_two_nodes_that_is_killed_starts_again(folder: Path) -> None:
    record = launch(
        folder, 'echo "start $*" >> starts\nif mkdir once 2>/dev/null; then kill -9 $$; fi\necho fine\n', restarts=2
    )
    assert wait_for(record, "finished", "failed") == "finished", record.logs()
    starts = (folder / "starts").read_text().splitlines()
    assert len(starts) == 4, "both nodes, twice"
    assert all("--nnodes=2" in line and line.endswith("-m ayllu.cli run smol") for line in starts)
    meetings = [[word for word in line.split() if word.startswith("--rdzv-")] for line in starts]
    assert sorted(meetings.count(each) for each in meetings) == [2, 2, 2, 2], "both nodes meet, anew at every start"
    assert record.logs().count("fine") >= 2


def test_a_job_can_be_cancelled(folder: Path) -> None:
    record = launch(folder, "echo started >> begun\nexec sleep 600\n")
    end = time.monotonic() + SECONDS
    while not (folder / "begun").exists():
        assert time.monotonic() < end, record.logs()
        time.sleep(0.1)
    with pytest.raises(UserError, match="is running on ray; cancel it first"):
        records.launch("ray", BatchJob(recipe="smol", name="smol", folder=folder))
    record.cancel()
    assert wait_for(record, "cancelled", "finished", "failed") == "cancelled"


def test_a_stranger_is_refused(cluster: str) -> None:
    end = time.monotonic() + SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{cluster}/api/jobs/")
        except urllib.error.HTTPError as error:
            assert error.code == 401
            return
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.5)
        else:
            pytest.fail("the cluster took a request without its token")
