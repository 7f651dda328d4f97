"""Launch a job and remember it, so that status, logs and cancel find it by its name."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from ayllu.fleet.launch.batch_job import NAME, BatchJob, Scheduler, Status
from ayllu.fleet.launch.kubernetes import Kubernetes
from ayllu.fleet.launch.local import Local
from ayllu.fleet.launch.ray import Ray
from ayllu.fleet.launch.skypilot import SkyPilot
from ayllu.fleet.launch.slurm import Slurm
from ayllu.lab.error import UserError

SCHEDULERS: dict[str, Scheduler] = {
    scheduler.name: scheduler for scheduler in (Local(), Slurm(), Kubernetes(), Ray(), SkyPilot())
}

RECORD = "record.json"
OPEN = ("queued", "running")


@dataclass(frozen=True, kw_only=True)
class Record:
    """A job that was launched."""

    name: str
    recipe: str
    scheduler: str
    identity: str
    folder: Path
    launched: float
    """Seconds since 1970."""

    def status(self) -> Status:
        """Ask the scheduler."""
        return SCHEDULERS[self.scheduler].status(self.identity, self.folder)

    def logs(self) -> str:
        """What the job has written."""
        return SCHEDULERS[self.scheduler].logs(self.identity, self.folder)

    def cancel(self) -> None:
        """End the job for good."""
        SCHEDULERS[self.scheduler].cancel(self.identity, self.folder)


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def prepare(scheduler: str, job: BatchJob) -> dict[str, str]:
    """The files that would be handed to the scheduler; nothing is written.

    Raises UserError for an unknown scheduler."""
    if scheduler not in SCHEDULERS:
        raise UserError(f"no scheduler '{scheduler}'; choose one of {', '.join(SCHEDULERS)}")
    return SCHEDULERS[scheduler].files(job)


def launch(scheduler: str, job: BatchJob) -> Record:
    """Write the job's files and hand it in. Raises UserError when a job of that name still waits or runs."""
    files = prepare(scheduler, job)
    folder = job.launch_folder
    if (folder / RECORD).exists():
        before = find(job.folder, job.name)
        state = before.status().state
        if state in OPEN:
            raise UserError(
                f"job '{job.name}' is {state} on {before.scheduler}; cancel it first, or give another --name"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        _write(folder / name, text)
    identity = SCHEDULERS[scheduler].submit(job)
    record = Record(
        name=job.name, recipe=job.recipe, scheduler=scheduler, identity=identity, folder=folder, launched=time.time()
    )
    kept = {
        "name": job.name,
        "recipe": job.recipe,
        "engine": scheduler,
        "identity": identity,
        "launched": record.launched,
    }
    _write(folder / RECORD, json.dumps(kept, indent=2) + "\n")
    return record


def find(folder: Path, name: str) -> Record:
    """The job of that name that was launched from `folder`. Raises UserError when there is none."""
    path = folder / ".ayllu" / "launch" / name / RECORD
    if not NAME.fullmatch(name) or not path.exists():
        known = sorted(record.parent.name for record in (folder / ".ayllu" / "launch").glob(f"*/{RECORD}"))
        listed = f"known here: {', '.join(known)}" if known else "none was launched from this folder"
        raise UserError(f"no job '{name}'; {listed}")
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Record(
            name=kept["name"],
            recipe=kept["recipe"],
            scheduler=kept["engine"],
            identity=kept["identity"],
            launched=kept["launched"],
            folder=path.parent,
        )
    except (ValueError, KeyError):
        raise UserError(f"{path}: not a record of a launch; delete its folder and launch again") from None
