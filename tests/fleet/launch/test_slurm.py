"""Launching on a real Slurm with two nodes: jobs that are requeued or cancelled, and torchrun across nodes."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ayllu.fleet.launch import records
from ayllu.fleet.launch.batch_job import BatchJob
from support.fleet.slurm import SlurmCluster, need_slurm

need_slurm()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def folder(slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path


def put_tool(folder: Path, name: str, text: str) -> None:
    tool = folder / "bin" / name
    tool.write_text(text)
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)


def wait_for(record: records.Record, *states: str, seconds: float = 60) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = record.status()
        if found.state in states:
            return found.state
        time.sleep(0.1)
    raise AssertionError(f"still {found} after {seconds} s; log:\n{record.logs()}")


def run_again(slurm: SlurmCluster, record: records.Record) -> None:
    """Wait for a requeued job to finish. By default it is held back for a while; an administrator lets it go."""
    # slurmd tells a killed start from a new one by whole seconds, and refuses a job let go in the second of its kill.
    time.sleep(2)
    end = time.monotonic() + 60
    while record.status().state != "finished" and time.monotonic() < end:
        slurm.run("scontrol", "update", f"JobId={record.identity}", "StartTime=now")
        time.sleep(0.2)


COUNTER = """#!/bin/sh
done=$(cat checkpoint 2>/dev/null || echo 0)
echo "from $done: $*"
while [ "$done" -lt 30 ]; do done=$((done + 1)); echo "$done" > part; mv part checkpoint; sleep 0.1; done
echo finished
"""
"""A job of three seconds that saves its progress ten times a second and goes on from it."""


def test_a_job_that_slurm_requeues_goes_on_from_its_checkpoint(slurm: SlurmCluster, folder: Path) -> None:
    put_tool(folder, "ayllu", COUNTER)
    record = records.launch("slurm", BatchJob(recipe="smol", name="smol", folder=folder, options=("--seed", "1")))
    assert wait_for(record, "running") == "running"
    while not (folder / "checkpoint").exists() or int((folder / "checkpoint").read_text()) < 5:
        time.sleep(0.05)
    slurm.run("scontrol", "requeue", record.identity)
    run_again(slurm, record)
    log = record.logs()
    starts = [int(line.split()[1].rstrip(":")) for line in log.splitlines() if line.startswith("from ")]
    assert len(starts) == 2, log
    assert starts[0] == 0
    assert starts[1] >= 5
    assert "from 0: run smol --seed 1" in log
    assert wait_for(record, "finished") == "finished"


def test_a_job_whose_time_is_up_queues_itself_again(slurm: SlurmCluster, folder: Path) -> None:
    put_tool(folder, "ayllu", COUNTER)
    record = records.launch("slurm", BatchJob(recipe="smol", name="long", folder=folder))
    wait_for(record, "running")
    while not (folder / "checkpoint").exists():
        time.sleep(0.05)
    # What Slurm itself sends before the time limit (`--signal=B:USR1@120`).
    slurm.run("scancel", "--batch", "--signal=USR1", record.identity)
    run_again(slurm, record)
    log = record.logs()
    assert "time is up, queueing again" in log
    assert log.count("from ") == 2
    assert wait_for(record, "finished") == "finished"


ADD_UP = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
one = torch.ones(1)
dist.all_reduce(one)
print(f"rank {dist.get_rank()} of {dist.get_world_size()}: sum {one.item():.0f}", flush=True)
dist.destroy_process_group()
"""


def test_torchrun_brings_two_nodes_together(slurm: SlurmCluster, folder: Path) -> None:
    (folder / "add_up.py").write_text(ADD_UP)
    # The names n1 and n2 mean something to Slurm only; and the recipe is a sum here.
    put_tool(
        folder,
        "torchrun",
        f"""#!{sys.executable}
import os, sys
words = [word.replace("n1:", "127.0.0.1:") for word in sys.argv[1:]]
at = words.index("-m")
assert words[at + 1:] == ["ayllu.cli", "run", "smol"], words
os.execv(sys.executable, [sys.executable, "-m", "torch.distributed.run", *words[:at], {str(folder / "add_up.py")!r}])
""",
    )
    job = BatchJob(recipe="smol", name="two", folder=folder, nodes=2, environment={"OMP_NUM_THREADS": "1"})
    record = records.launch("slurm", job)
    assert wait_for(record, "finished", "failed", seconds=120) == "finished", record.logs()
    assert "rank 0 of 2: sum 2" in record.logs()
    assert "rank 1 of 2: sum 2" in record.logs()


def test_a_job_that_fails_is_not_tried_again_and_one_can_be_cancelled(slurm: SlurmCluster, folder: Path) -> None:
    put_tool(folder, "ayllu", '#!/bin/sh\necho try\n[ "$2" = wrong ] && exit 3\nsleep 60\n')
    wrong = records.launch("slurm", BatchJob(recipe="wrong", name="wrong", folder=folder))
    assert wait_for(wrong, "failed", "finished") == "failed"
    assert wrong.logs().count("try") == 1
    long = records.launch("slurm", BatchJob(recipe="smol", name="smol", folder=folder))
    wait_for(long, "running")
    long.cancel()
    assert wait_for(long, "cancelled") == "cancelled"


@pytest.mark.parametrize("name", ["two words", "it's", 'say "so"', "100%j #4 $HOME"])
def test_a_folder_may_have_any_name(slurm: SlurmCluster, folder: Path, name: str) -> None:
    put_tool(folder, "ayllu", '#!/bin/sh\npwd > where\necho "as told: $*"\n')
    place = folder / name
    place.mkdir()
    record = records.launch("slurm", BatchJob(recipe="smol", name="smol", folder=place, options=("--name", name)))
    assert wait_for(record, "finished", "failed") == "finished", record.logs()
    assert (place / "where").read_text() == f"{place}\n"
    assert f"as told: run smol --name {name}\n" in record.logs()


def test_slurm_takes_account_qos_partition_and_own_lines(slurm: SlurmCluster, folder: Path) -> None:
    put_tool(folder, "ayllu", "#!/bin/sh\nexec sleep 60\n")
    own = ("--comment='a b'", "#SBATCH --nice=7")
    job = BatchJob(recipe="smol", name="own", folder=folder, queue="main", account="lab", qos="high", directives=own)
    record = records.launch("slurm", job)
    wait_for(record, "running")
    shown = slurm.run("scontrol", "show", "job", record.identity)
    record.cancel()
    wait_for(record, "cancelled")
    for told in ("Account=lab", "Partition=main", "Comment=a b", "Nice=7"):
        assert told in shown, shown
