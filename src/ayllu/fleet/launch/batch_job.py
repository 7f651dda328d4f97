"""What is launched: a recipe, on so many nodes, with so many processes on each."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ayllu.lab.error import UserError

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
"""A label of RFC 1123, short enough for the suffixes that schedulers append."""

RENDEZVOUS_PORT = 29_500


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """A recipe and where it runs. Raises UserError on figures that cannot be."""

    recipe: str
    name: str
    folder: Path
    """Where the scheduler starts the job, its files and logs lie below `launch_folder`; all nodes must see it."""
    options: tuple[str, ...] = ()
    """Options of the recipe, as on the command line of `ayllu run`."""
    nodes: int = 1
    accelerators_per_node: int = 0
    """0: the processors do the work."""
    processes_per_node: int = 1
    """On many nodes one process for each accelerator is usual."""
    cpus_per_node: int | None = None
    memory_gib: int | None = None
    hours: float | None = None
    """Time limit; the job is saved and queued again when it is reached."""
    queue: str | None = None
    """Partition of Slurm, local queue of Kueue; nothing elsewhere."""
    image: str | None = None
    """Container image, for Kubernetes and SkyPilot."""
    accelerator: str | None = None
    """Kind of accelerator, for SkyPilot (`H100`)."""
    restarts: int = 20
    """How often a job that was killed starts again."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise UserError(
                f"job name '{self.name}': use at most 40 small letters, digits and hyphens, with no hyphen at the ends"
            )
        if not re.fullmatch(r"[A-Za-z0-9_./-]+", self.recipe) or self.recipe.startswith("-"):
            raise UserError(f"recipe '{self.recipe}': a recipe's name has letters, digits, '_', '-', '.' and '/' only")
        for what in ("nodes", "processes_per_node"):
            if getattr(self, what) < 1:
                raise UserError(f"launch: {what} is {getattr(self, what)}; it must be at least 1")
        for what in ("accelerators_per_node", "restarts"):
            if getattr(self, what) < 0:
                raise UserError(f"launch: {what} is {getattr(self, what)}; it must not be negative")
        for what in ("cpus_per_node", "memory_gib", "hours"):
            value = getattr(self, what)
            if value is not None and value <= 0:
                raise UserError(f"launch: {what} is {value}; it must be positive")
        if self.queue is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.,-]*", self.queue):
            raise UserError(f"launch: queue '{self.queue}' is not the name of a queue")
        for name in self.environment:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise UserError(f"launch: '{name}' is not the name of an environment variable")

    def refuse(self, scheduler: str, *fields: str) -> None:
        """Raise UserError when one of `fields`, which the scheduler has no use for, is set."""
        for what in fields:
            if getattr(self, what) is not None:
                raise UserError(f"launch: {scheduler} has no use for --{what.replace('_', '-')}; leave it out")

    @property
    def launch_folder(self) -> Path:
        """Where the job's files, logs and record lie."""
        return self.folder / ".ayllu" / "launch" / self.name

    @property
    def many(self) -> bool:
        """Whether torchrun is needed to bring processes together."""
        return self.nodes * self.processes_per_node > 1

    def run_words(self) -> list[str]:
        """`run RECIPE …`, the part that is the same everywhere."""
        return ["run", self.recipe, *self.options]

    def command(self, *, rendezvous: str = "") -> str:
        """The command of one node for a shell: `ayllu run …`, or torchrun that starts `ayllu.cli` in every process.

        `rendezvous` is the host (a shell expression) where the nodes meet.
        """
        if not self.many:
            return shlex.join(["ayllu", *self.run_words()])
        # Else torchrun's own store, which outlives the processes, keeps the addresses of dead ones, and a second start
        # of several nodes waits for them for ever.
        own_store = ["env", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"] if self.nodes > 1 else []
        words = [*own_store, "torchrun", f"--nnodes={self.nodes}", f"--nproc-per-node={self.processes_per_node}"]
        # torchrun itself brings back a process that died while the nodes are well.
        words.append(f"--max-restarts={min(self.restarts, 3)}")
        if self.nodes == 1:
            words.append("--standalone")
        else:
            words += [f"--rdzv-id={self.name}", "--rdzv-backend=c10d"]
        line = shlex.join(words)
        if self.nodes > 1:
            line += f' --rdzv-endpoint="{rendezvous}:{RENDEZVOUS_PORT}"'
        return f"{line} -m ayllu.cli {shlex.join(self.run_words())}"

    def exports(self) -> str:
        """Lines that set the environment, in order of name."""
        return "".join(f"export {name}={shlex.quote(self.environment[name])}\n" for name in sorted(self.environment))


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a job stands."""

    state: str
    """queued, running, finished, failed, cancelled or unknown."""
    detail: str = ""


class Scheduler(Protocol):
    """What every scheduler can do. `identity` is what `submit` returned."""

    name: str

    def files(self, job: BatchJob) -> dict[str, str]:
        """The files that describe the job to the scheduler, by name; the first is the one to submit."""

    def submit(self, job: BatchJob) -> str:
        """Hand in the job, whose files are written; returns how the scheduler calls it. Raises UserError."""

    def status(self, identity: str, folder: Path) -> Status:
        """How the job stands."""

    def logs(self, identity: str, folder: Path) -> str:
        """What the job has written so far."""

    def cancel(self, identity: str, folder: Path) -> None:
        """End the job for good."""


def surroundings() -> dict[str, str]:
    """The environment, in which this Python's programs are found too: a job calls `ayllu` and `torchrun` by name, also
    where nobody has activated the virtual environment that they lie in."""
    return os.environ | {
        "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    }


def tool(words: list[str], *, hint: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a scheduler's command-line tool. Raises UserError when it is missing or (with `check`) when it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=surroundings())
    except FileNotFoundError:
        raise UserError(f"'{words[0]}' is not installed here: {hint}") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"'{shlex.join(words[:3])} …' gave no answer in two minutes; is the scheduler up?") from None
    if check and done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit {done.returncode}").splitlines()[-1]
        raise UserError(f"'{shlex.join(words[:3])} …' failed: {said}")
    return done
