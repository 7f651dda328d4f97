"""What is launched: a recipe, on so many nodes, with so many processes on each."""

from __future__ import annotations

import math
import os
import re
import shlex
import subprocess
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ayllu.lab.error import UserError

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
"""A label of RFC 1123, short enough for the suffixes that schedulers append."""

SLURM_ONLY = ("account", "qos", "directives")
"""Fields that the other schedulers refuse."""

FIRST_PORT, PORTS = 10_000, 20_000
"""Where the nodes of a job meet: ports above the well-known ones and below those that systems hand out by themselves
(Linux: from 32,768 on)."""


@dataclass(frozen=True, kw_only=True)
class Rendezvous:
    """Where the nodes of one start of one job meet, in words of a shell.

    Jobs may share a node, and torchrun joins all that name one place and one identity to one training: both come from
    what the scheduler calls this start of this job, and never from the recipe.
    """

    host: str
    port: str
    identity: str


def port_of(words: str) -> int:
    """A port for what has no number of its own, the same wherever it is asked for."""
    return FIRST_PORT + zlib.crc32(words.encode()) % PORTS


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """A recipe and where it runs. Raises UserError on figures that cannot be."""

    recipe: str
    name: str
    folder: Path
    """Where the scheduler starts the job, its files and logs lie below `launch_folder`; all nodes must see it."""
    from_folder: Path | None = None
    """Where the command itself starts, on this machine, Slurm and Ray; `folder` when not given."""
    options: tuple[str, ...] = ()
    """Options of the recipe, as on the command line of `ayllu run`."""
    action: Literal["run", "sweep"] = "run"
    """The command that takes the recipe."""
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
    account: str | None = None
    """Whom Slurm charges."""
    qos: str | None = None
    """Quality of service, of Slurm."""
    directives: tuple[str, ...] = ()
    """More options of sbatch, each as it would stand behind `#SBATCH`."""
    image: str | None = None
    """Container image, for Kubernetes and SkyPilot."""
    accelerator: str | None = None
    """Kind of accelerator, for SkyPilot (`H100`)."""
    install: str | None = None
    """What pip installs on SkyPilot's machines; None for what is installed here."""
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
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"launch: {what} is {value}; it must be positive and finite")
        for what in ("queue", "account", "qos"):
            value = getattr(self, what)
            if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.,@+-]*", value):
                raise UserError(f"launch: {what} {value!r} is not the name of one")
        if not str(self.folder).isprintable():
            raise UserError(f"launch: the folder {str(self.folder)!r} has line breaks or the like in its name")
        for name in self.environment:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise UserError(f"launch: '{name}' is not the name of an environment variable")

    def refuse(self, scheduler: str, *fields: str) -> None:
        """Raise UserError when one of `fields`, which the scheduler has no use for, is set."""
        for what in fields:
            if getattr(self, what) not in (None, ()):
                option = {"directives": "sbatch"}.get(what, what.replace("_", "-"))
                raise UserError(f"launch: {scheduler} has no use for --{option}; leave it out")

    @property
    def launch_folder(self) -> Path:
        """Where the job's files, logs and record lie."""
        return self.folder / ".ayllu" / "launch" / self.name

    @property
    def start(self) -> Path:
        """Where relative paths of the command begin."""
        return self.from_folder or self.folder

    @property
    def many(self) -> bool:
        """Whether torchrun is needed to bring processes together."""
        return self.nodes * self.processes_per_node > 1

    def run_words(self) -> list[str]:
        """`run RECIPE …`, the part that is the same everywhere."""
        return [self.action, self.recipe, *self.options]

    def command(self, rendezvous: Rendezvous | None = None) -> str:
        """The command of one node for a shell: `ayllu run …`, or torchrun that starts `ayllu.cli` in every process.

        Several nodes need a `rendezvous`; processes of one node meet at a place that torchrun draws by itself.
        """
        if not self.many:
            return shlex.join(["ayllu", *self.run_words()])
        # Else torchrun's own store, which outlives the processes, keeps the addresses of dead ones, and a second start
        # of several nodes waits for them for ever.
        own_store = ["env", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"] if self.nodes > 1 else []
        words = [*own_store, "torchrun", f"--nnodes={self.nodes}", f"--nproc-per-node={self.processes_per_node}"]
        # torchrun itself brings back a process that died while the nodes are well.
        words.append(f"--max-restarts={min(self.restarts, 3)}")
        words.append("--standalone" if self.nodes == 1 else "--rdzv-backend=c10d")
        line = shlex.join(words)
        if self.nodes > 1:
            if rendezvous is None:
                raise ValueError("a job of several nodes needs a rendezvous")
            line += f' --rdzv-id="{rendezvous.identity}" --rdzv-endpoint="{rendezvous.host}:{rendezvous.port}"'
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
