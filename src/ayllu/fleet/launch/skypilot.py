"""SkyPilot: a managed job on whichever cloud has the accelerators; it comes back by itself after a preemption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ayllu.fleet.launch.batch_job import FIRST_PORT, PORTS, SLURM_ONLY, BatchJob, Rendezvous, Status, tool
from ayllu.fleet.launch.manifests import dump
from ayllu.fleet.launch.package_source import package_source
from ayllu.lab.error import UserError

HINT = "install SkyPilot (pip install skypilot) and give it a cloud (sky check)"
TASK = "task.yaml"
STATES = {
    "PENDING": "queued",
    "SUBMITTED": "queued",
    "STARTING": "queued",
    "RECOVERING": "queued",
    "RUNNING": "running",
    "SUCCEEDED": "finished",
    "CANCELLING": "cancelled",
    "CANCELLED": "cancelled",
    "FAILED": "failed",
}


HERE = Rendezvous(host="$first", port="$port", identity="$SKYPILOT_TASK_ID")
MEETING = f"""first=$(echo "$SKYPILOT_NODE_IPS" | head -n 1)
port=$(({FIRST_PORT} + $(printf %s "$SKYPILOT_TASK_ID" | cksum | cut -d ' ' -f 1) % {PORTS}))
"""


def task(job: BatchJob) -> dict[str, Any]:
    """The task. SkyPilot sets the addresses of the nodes and the identity of the job."""
    resources: dict[str, Any] = {
        "job_recovery": {"strategy": "EAGER_NEXT_REGION", "max_restarts_on_errors": job.restarts}
    }
    if job.accelerators_per_node:
        resources["accelerators"] = f"{job.accelerator}:{job.accelerators_per_node}"
    if job.cpus_per_node:
        resources["cpus"] = f"{job.cpus_per_node}+"
    if job.memory_gib:
        resources["memory"] = f"{job.memory_gib}+"
    if job.image:
        resources["image_id"] = f"docker:{job.image}"
    command = job.command(HERE)
    first = MEETING if job.nodes > 1 else ""
    made: dict[str, Any] = {
        "name": job.name,
        "num_nodes": job.nodes,
        "resources": resources,
        "workdir": str(job.folder),
        "run": f"set -e\n{first}exec {command}\n",
    }
    if job.environment:
        made["envs"] = {name: job.environment[name] for name in sorted(job.environment)}
    if not job.image:
        installed = package_source(job.install)
        made["setup"] = f"set -e\npython3 -m pip install --quiet {installed.words}\n"
        if installed.mounts:
            made["file_mounts"] = dict(installed.mounts)
    return made


class SkyPilot:
    """Speaks to SkyPilot through `sky jobs`. The identity is the name of the managed job."""

    name = "skypilot"

    def files(self, job: BatchJob) -> dict[str, str]:
        """The task file."""
        job.refuse("SkyPilot", "hours", "queue", *SLURM_ONLY)
        if job.image:
            job.refuse("SkyPilot with an image, which holds Ayllu,", "install")
        if job.accelerators_per_node and not job.accelerator:
            raise UserError("launch: SkyPilot must know which accelerators; name them with --accelerator, such as H100")
        return {TASK: dump(task(job))}

    def submit(self, job: BatchJob) -> str:
        """`sky jobs launch`, without waiting."""
        path = str(job.launch_folder / TASK)
        tool(["sky", "jobs", "launch", "--name", job.name, "--detach-run", "--yes", path], hint=HINT)
        return job.name

    def status(self, identity: str, folder: Path) -> Status:
        """From the table of managed jobs."""
        for line in tool(["sky", "jobs", "queue"], hint=HINT).stdout.splitlines():
            words = line.split()
            if identity in words:
                word = next((word for word in words if word.split("_")[0] in STATES), "")
                return Status(state=STATES.get(word.split("_")[0], "unknown"), detail=word.lower())
        return Status(state="unknown", detail="SkyPilot knows no such job")

    def logs(self, identity: str, folder: Path) -> str:
        """What the job has written so far."""
        return tool(["sky", "jobs", "logs", "--name", identity, "--no-follow"], hint=HINT).stdout

    def cancel(self, identity: str, folder: Path) -> None:
        """End the job and give its machines back."""
        tool(["sky", "jobs", "cancel", "--name", identity, "--yes"], hint=HINT)
