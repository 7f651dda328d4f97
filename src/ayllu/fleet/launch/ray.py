"""Ray: a job on a Ray cluster that takes whole nodes and runs the command on each."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from ayllu.fleet.launch.batch_job import SLURM_ONLY, BatchJob, Rendezvous, Status, tool
from ayllu.lab.error import UserError

HINT = "install Ray (pip install 'ray[default]') and start or name a cluster (RAY_ADDRESS)"
STATES = {
    "PENDING": "queued",
    "RUNNING": "running",
    "SUCCEEDED": "finished",
    "FAILED": "failed",
    "STOPPED": "cancelled",
}
DEFAULT_ADDRESS = "http://127.0.0.1:8265"


def _words(verb: str, *rest: str) -> list[str]:
    return ["ray", "job", verb, "--address", os.environ.get("RAY_ADDRESS", DEFAULT_ADDRESS), *rest]


class Ray:
    """Speaks to the cluster of RAY_ADDRESS through `ray job`. The identity is the submission's."""

    name = "ray"

    def files(self, job: BatchJob) -> dict[str, str]:
        """A script with the entry point; `ray job submit` runs it on the head node."""
        job.refuse("Ray", "hours", "queue", "image", "accelerator", "memory_gib", *SLURM_ONLY, "install")
        if not re.fullmatch(r"[\w ./@%+,:=-]+", str(job.folder)):
            raise UserError(f"launch: Ray's command line does not keep a name such as {job.folder}; use another folder")
        # `ray_nodes` says on every node where this start of the job meets.
        command = job.command(Rendezvous(host="$AYLLU_FIRST", port="$AYLLU_PORT", identity="$AYLLU_START"))
        words = ["python", "-m", "ayllu.fleet.launch.ray_nodes", f"--nodes={job.nodes}", f"--restarts={job.restarts}"]
        words.append(f"--cpus={job.cpus_per_node or 1}")
        words.append(f"--gpus={job.accelerators_per_node}")
        # Ray's workers know nothing of this script's environment, so the command on each node sets its own.
        words.append(f"{job.exports()}cd {shlex.quote(str(job.start))} && {command}")
        return {"entry.sh": f"#!/bin/sh\nexec {shlex.join(words)}\n"}

    def submit(self, job: BatchJob) -> str:
        """`ray job submit`; returns the submission's identity, which holds the job's name."""
        import secrets

        identity = f"{job.name}-{secrets.token_hex(3)}"
        script = str(job.launch_folder / "entry.sh")
        tool(_words("submit", "--submission-id", identity, "--no-wait", "--", "sh", script), hint=HINT)
        return identity

    def status(self, identity: str, folder: Path) -> Status:
        """The last word that Ray says of the job."""
        said = tool(_words("status", identity), hint=HINT, check=False)
        if said.returncode:
            return Status(state="unknown", detail=said.stderr.strip().splitlines()[-1] if said.stderr.strip() else "")
        # Ray writes "Status for job 'x': RUNNING", but "Job 'x' succeeded".
        text = said.stdout.replace(identity, "").upper()
        word = next((word for word in STATES if word in text), "")
        return Status(state=STATES.get(word, "unknown"), detail=word.lower())

    def logs(self, identity: str, folder: Path) -> str:
        """What the entry point and all nodes wrote."""
        return tool(_words("logs", identity), hint=HINT).stdout

    def cancel(self, identity: str, folder: Path) -> None:
        """Stop the job."""
        tool(_words("stop", "--no-wait", identity), hint=HINT)
