"""Where the nodes of a job meet: jobs of one recipe on one node never meet each other, whatever starts them."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from ayllu.fleet.launch import records
from ayllu.fleet.launch.batch_job import FIRST_PORT, PORTS, BatchJob

PRINT_WORDS = '#!/bin/sh\nprintf "%s\\n" "$@" > "$SEEN"\n'
RUN_BEHIND_OPTIONS = '#!/bin/sh\nwhile case "$1" in --*) true ;; *) false ;; esac; do shift; done\nexec "$@"\n'


def torchrun_words(folder: Path, scheduler: str, **environment: str) -> list[str]:
    """What torchrun is told on one node of a job that `scheduler` has started with this environment."""
    job = BatchJob(recipe="smol", name="smol", folder=folder, nodes=2, install="ayllu", image=None)
    if scheduler != "skypilot":
        job = BatchJob(recipe="smol", name="smol", folder=folder, nodes=2)
    ((name, text),) = records.prepare(scheduler, job).items()
    script = yaml.safe_load(text)["run"] if name.endswith(".yaml") else text
    tools = {"torchrun": PRINT_WORDS, "srun": RUN_BEHIND_OPTIONS, "scontrol": "#!/bin/sh\necho n1; echo n2\n"}
    for tool, body in tools.items():
        path = folder / "bin" / tool
        path.parent.mkdir(exist_ok=True)
        path.write_text(body)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (folder / "script").write_text(script)
    seen = folder / "seen"
    around = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "SEEN": str(seen), **environment}
    subprocess.run(["bash", str(folder / "script")], env=around, cwd=folder, check=True, timeout=30)
    return seen.read_text().splitlines()


def meeting(words: list[str]) -> tuple[str, str]:
    """Identity and endpoint."""
    named = dict(word.split("=", 1) for word in words if word.startswith("--rdzv"))
    return named["--rdzv-id"], named["--rdzv-endpoint"]


STARTS = {
    "slurm": [
        {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "n[1-2]"},
        {"SLURM_JOB_ID": "4712", "SLURM_JOB_NODELIST": "n[1-2]"},
    ],
    "skypilot": [
        {"SKYPILOT_TASK_ID": "sky-2026-11-28-10-00-00-000001_one_1", "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2"},
        {"SKYPILOT_TASK_ID": "sky-2026-11-28-10-00-00-000002_one_2", "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2"},
    ],
}


@pytest.mark.parametrize("scheduler", STARTS)
def test_two_jobs_of_one_recipe_on_one_node_meet_at_their_own_places(tmp_path: Path, scheduler: str) -> None:
    one, other = (meeting(torchrun_words(tmp_path, scheduler, **start)) for start in STARTS[scheduler])
    assert one[0] != other[0], "torchrun joins what has one identity"
    assert one[1] != other[1]
    assert one[1].rpartition(":")[0] == other[1].rpartition(":")[0], "the same first node"
    for _, endpoint in (one, other):
        assert FIRST_PORT <= int(endpoint.rpartition(":")[2]) < FIRST_PORT + PORTS
    again = meeting(torchrun_words(tmp_path, scheduler, **STARTS[scheduler][0]))
    assert again == one, "every node of a job works it out by itself"


def test_a_requeued_job_does_not_meet_what_is_left_of_its_first_start(tmp_path: Path) -> None:
    start = STARTS["slurm"][0]
    first = meeting(torchrun_words(tmp_path, "slurm", **start))
    second = meeting(torchrun_words(tmp_path, "slurm", **start, SLURM_RESTART_COUNT="1"))
    assert first[0] != second[0]


def test_a_ray_job_gets_its_place_from_the_cluster_and_processes_of_one_node_draw_one(tmp_path: Path) -> None:
    two = BatchJob(recipe="smol", name="smol", folder=tmp_path, nodes=2)
    entry = records.prepare("ray", two)["entry.sh"]
    assert '--rdzv-id="$AYLLU_START"' in entry and '"$AYLLU_FIRST:$AYLLU_PORT"' in entry
    one = BatchJob(recipe="smol", name="smol", folder=tmp_path, processes_per_node=2)
    assert "--standalone" in one.command() and "rdzv" not in one.command()


def test_jobs_of_kubernetes_meet_in_pods_of_their_own(tmp_path: Path) -> None:
    def endpoint(name: str) -> list[str]:
        job = BatchJob(recipe="smol", name=name, folder=tmp_path, nodes=2, image="x")
        return re.findall(r"--rdzv-\w+=\S+", records.prepare("kubernetes", job)["jobset.yaml"])

    assert endpoint("one") != endpoint("two")
