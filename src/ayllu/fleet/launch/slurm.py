"""Slurm: an sbatch script in which srun starts one torchrun on every node."""

from __future__ import annotations

import shlex
from pathlib import Path

from ayllu.fleet.launch.batch_job import BatchJob, Status, tool
from ayllu.lab.error import UserError

HINT = "install Slurm's client tools (Debian: slurm-client), or launch from a login node"

STATES = {
    "PENDING": "queued",
    "REQUEUED": "queued",
    "REQUEUE_HOLD": "queued",
    "SUSPENDED": "queued",
    "CONFIGURING": "running",
    "RUNNING": "running",
    "COMPLETING": "running",
    "COMPLETED": "finished",
    "CANCELLED": "cancelled",
}
"""Slurm's words for ours; every other state is a failure."""

WARNING_SECONDS = 120
"""So long before its time limit the job is told, and queued again."""


def _time(hours: float) -> str:
    minutes = max(round(hours * 60), 1)
    return f"{minutes // 1440}-{minutes % 1440 // 60:02d}:{minutes % 60:02d}:00"


class Slurm:
    """Speaks to Slurm through sbatch, squeue, scontrol and scancel. The identity is the job's number."""

    name = "slurm"

    def files(self, job: BatchJob) -> dict[str, str]:
        """The batch script. `--requeue` brings the job back after a preemption or a lost node."""
        job.refuse("Slurm", "image", "accelerator")
        folder = job.launch_folder
        options = [
            f"--job-name={job.name}",
            f"--nodes={job.nodes}",
            "--ntasks-per-node=1",
            "--requeue",
            "--open-mode=append",
            f"--output={folder}/log",
            f"--chdir={job.folder}",
            f"--signal=B:USR1@{WARNING_SECONDS}",
        ]
        if job.accelerators_per_node:
            options.append(f"--gpus-per-node={job.accelerators_per_node}")
        if job.cpus_per_node:
            options.append(f"--cpus-per-task={job.cpus_per_node}")
        if job.memory_gib:
            options.append(f"--mem={job.memory_gib}G")
        if job.hours:
            options.append(f"--time={_time(job.hours)}")
        if job.queue:
            options.append(f"--partition={job.queue}")
        directives = "\n".join(f"#SBATCH {option}" for option in options)
        return {
            "job.sbatch": f"""#!/bin/bash
{directives}

# Before the time limit Slurm sends USR1 to this script: the job is queued again and goes on from its last checkpoint.
again() {{
    echo "ayllu launch: time is up, queueing again" >&2
    scontrol requeue "$SLURM_JOB_ID"
}}
trap again USR1

if [ "${{SLURM_RESTART_COUNT:-0}}" -gt {job.restarts} ]; then
    echo "ayllu launch: started {job.restarts} times again; giving up" >&2
    exit 1
fi

{job.exports()}first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export first
srun --kill-on-bad-exit=1 bash -c {shlex.quote("exec " + job.command(rendezvous="$first"))} &
step=$!
# `wait` returns early when a signal comes, so it is asked until the step has really ended.
while wait "$step"; code=$?; kill -0 "$step" 2>/dev/null; do :; done
exit "$code"
"""
        }

    def submit(self, job: BatchJob) -> str:
        """sbatch; returns the job's number."""
        done = tool(["sbatch", "--parsable", str(job.launch_folder / "job.sbatch")], hint=HINT)
        return done.stdout.strip().split(";")[0]

    def status(self, identity: str, folder: Path) -> Status:
        """From the controller while it remembers the job, then from accounting where there is one."""
        done = tool(
            ["squeue", "--noheader", "--jobs", identity, "--states=all", "--format=%T|%r|%N"], hint=HINT, check=False
        )
        line = done.stdout.strip().splitlines()[:1]
        if not line:
            old = tool(
                ["sacct", "--noheader", "--parsable2", "-X", "-j", identity, "-o", "State"], hint=HINT, check=False
            )
            line = [f"{old.stdout.split()[0]}||"] if old.returncode == 0 and old.stdout.strip() else []
        if not line:
            return Status(state="unknown", detail="Slurm no longer knows this job; see its log")
        word, reason, nodes = line[0].split("|")
        return Status(state=STATES.get(word, "failed"), detail=nodes or (reason if reason != "None" else word))

    def logs(self, identity: str, folder: Path) -> str:
        """The file that all nodes append to."""
        path = folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def cancel(self, identity: str, folder: Path) -> None:
        """scancel; a cancelled job is not queued again."""
        if not identity.isdigit():
            raise UserError(f"'{identity}' is not the number of a Slurm job")
        tool(["scancel", identity], hint=HINT)
