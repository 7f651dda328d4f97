"""Slurm: an sbatch script in which srun starts one torchrun on every node."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ayllu.fleet.launch.batch_job import FIRST_PORT, PORTS, BatchJob, Rendezvous, Status, tool
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


OURS = {
    "--job-name": "--name",
    "-J": "--name",
    "--nodes": "--nodes",
    "-N": "--nodes",
    "--gpus-per-node": "--accelerators-per-node",
    "--cpus-per-task": "--cpus-per-node",
    "-c": "--cpus-per-node",
    "--mem": "--memory-gib",
    "--time": "--hours",
    "-t": "--hours",
    "--partition": "--partition",
    "-p": "--partition",
    "--account": "--account",
    "-A": "--account",
    "--qos": "--qos",
    "-q": "--qos",
    "--output": "--folder",
    "-o": "--folder",
    "--chdir": "--folder",
    "-D": "--folder",
    **dict.fromkeys(("--ntasks", "-n", "--ntasks-per-node", "--array", "-a", "--wrap"), ""),
    **dict.fromkeys(("--signal", "--requeue", "--no-requeue", "--open-mode"), "--restarts"),
}
"""Options of sbatch that a launch sets by itself, and the option that sets them here; "" for what it cannot do."""
ALONE = "hHIkKOQsuvVWX"
"""Letters of options of sbatch that take no value: others may stand right behind them."""
ALSO_WHOLE = ("--gpus",)
"""Options of sbatch that are the beginning of another's name."""


def _own_lines(job: BatchJob) -> list[str]:
    """The user's own options of sbatch. Raises UserError for what is none, and for one that a launch sets itself."""
    lines = []
    for given in job.directives:
        line = given.strip().removeprefix("#SBATCH").strip()
        try:
            words = shlex.split(line) if line.isprintable() else []
        except ValueError:
            words = []
        if not words or not words[0].startswith("-"):
            raise UserError(f"launch: --sbatch {given!r} is no option of sbatch, such as --constraint=h100")
        for word in words:
            if len(word) > 2 and word[0] == "-" and word[1] in ALONE:
                raise UserError(f"launch: --sbatch {given!r} holds several options in one word; write each by itself")
            _check_own(given, word)
        lines.append(line)
    return lines


def _check_own(given: str, word: str) -> None:
    name = word.partition("=")[0] if word.startswith("--") else word[:2]
    # sbatch takes the beginning of a long name for the whole.
    taken = [own for own in OURS if own == name or (name.startswith("--") and own.startswith(name))]
    if taken and name.startswith("-") and name not in ALSO_WHOLE:
        ours = OURS[taken[0]]
        instead = f"use {ours} of `ayllu fleet launch`" if ours else "a job is one torchrun on every node"
        raise UserError(f"launch: --sbatch {given!r} sets what a launch sets itself; {instead}")


def _quoted(text: str) -> str:
    """`text` as sbatch reads it in a line of the script: quotes hold blanks together, and a backslash
    takes the next character as it is (no text of ours has one)."""
    if re.fullmatch(r"[A-Za-z0-9_./@%+,:=-]*", text):
        return text
    return '"' + text.replace('"', '\\"') + '"'


HERE = Rendezvous(host="$first", port="$port", identity="$start")
MEETING = f"""# Other jobs may run on these nodes: where this one's meet is its own, and new with every start.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$(({FIRST_PORT} + SLURM_JOB_ID % {PORTS}))
start="$SLURM_JOB_ID.${{SLURM_RESTART_COUNT:-0}}"
export first port start
"""


class Slurm:
    """Speaks to Slurm through sbatch, squeue, scontrol and scancel. The identity is the job's number."""

    name = "slurm"

    def files(self, job: BatchJob) -> dict[str, str]:
        """The batch script. `--requeue` brings the job back after a preemption or a lost node."""
        job.refuse("Slurm", "image", "accelerator", "install")
        if "\\" in str(job.folder):
            raise UserError(f"launch: Slurm drops a backslash from the name of a log, and {job.folder} has one")
        options = [
            f"--job-name={job.name}",
            f"--nodes={job.nodes}",
            "--ntasks-per-node=1",
            "--requeue",
            "--open-mode=append",
            # In the name of a log Slurm takes % for the beginning of a pattern.
            "--output=" + _quoted(f"{job.launch_folder}/log".replace("%", "%%")),
            "--chdir=" + _quoted(str(job.start)),
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
        if job.account:
            options.append(f"--account={job.account}")
        if job.qos:
            options.append(f"--qos={job.qos}")
        options += _own_lines(job)
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

{job.exports()}{MEETING}srun --kill-on-bad-exit=1 bash -c {shlex.quote("exec " + job.command(HERE))} &
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
