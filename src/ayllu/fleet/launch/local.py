"""This machine: a process of its own that outlives the terminal, and starts again when it is killed."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

from ayllu.fleet.launch.batch_job import SLURM_ONLY, BatchJob, Status, surroundings
from ayllu.lab.error import UserError

SCRIPT = "run.sh"


def _started(pid: int) -> str | None:
    """When the process started, in clock ticks (a later process with its number has another); None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    after = stat.rpartition(")")[2].split()
    return None if after[0] == "Z" else after[19]


class Local:
    """Runs the job as a process group on this machine. The identity is `pid:start`."""

    name = "local"

    def files(self, job: BatchJob) -> dict[str, str]:
        """A shell script that starts the job again as long as signals end it."""
        if job.nodes != 1:
            raise UserError(
                "launch: this machine is one node; use --processes-per-node, or another scheduler for more nodes"
            )
        job.refuse("this machine", "hours", "queue", "image", "accelerator", "cpus_per_node", "memory_gib")
        job.refuse("this machine", *SLURM_ONLY, "install")
        folder = shlex.quote(str(job.launch_folder))
        return {
            SCRIPT: f"""#!/bin/sh
# Starts the job, and starts it again when a signal has killed it: it goes on from its last checkpoint.
cd {shlex.quote(str(job.start))} || exit 1
{job.exports()}attempt=0
while :; do
    {job.command()}
    code=$?
    attempt=$((attempt + 1))
    # 128 and above: ended by a signal.
    if [ "$code" -lt 128 ] || [ "$attempt" -gt {job.restarts} ]; then break; fi
    echo "ayllu launch: ended by signal $((code - 128)), attempt $attempt of {job.restarts}" >&2
    sleep 1
done
echo "$code" > {folder}/exit.part && mv {folder}/exit.part {folder}/exit
exit "$code"
"""
        }

    def submit(self, job: BatchJob) -> str:
        """Start the script in a session of its own."""
        folder = job.launch_folder
        (folder / "exit").unlink(missing_ok=True)
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                ["/bin/sh", str(folder / SCRIPT)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=surroundings(),
            )
        return f"{process.pid}:{_started(process.pid)}"

    def status(self, identity: str, folder: Path) -> Status:
        """Alive, or how it ended."""
        pid, _, started = identity.partition(":")
        if started == _started(int(pid)):
            return Status(state="running", detail=f"process {pid}")
        if not (folder / "exit").exists():
            return Status(state="cancelled", detail="ended from outside")
        code = int((folder / "exit").read_text(encoding="utf-8"))
        return Status(state="finished" if code == 0 else "failed", detail=f"exit {code}")

    def logs(self, identity: str, folder: Path) -> str:
        """The log file."""
        path = folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def cancel(self, identity: str, folder: Path) -> None:
        """End the whole group: politely, then after ten seconds for good."""
        pid, _, started = identity.partition(":")
        if started != _started(int(pid)):
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(pid), sign)
            end = time.monotonic() + 10
            while time.monotonic() < end:
                if _started(int(pid)) != started:
                    return
                time.sleep(0.05)
