"""A cgroup for each sandbox, where this process may make one: the kernel then counts its memory and processes."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ayllu.sandbox.outcome import Limits

MOUNTED = Path("/sys/fs/cgroup")
KINDS = ("memory", "pids")
SPARE_PROCESSES = 4
"""The shell that starts it, and bubblewrap's own processes."""
_numbers = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Group:
    """The folders of one group: one for both kinds (cgroup 2), or one each (cgroup 1)."""

    folders: dict[str, Path]
    """By kind: `memory`, `pids`."""

    @property
    def doors(self) -> list[Path]:
        """Files that a process writes its number to in order to come in."""
        return [folder / "cgroup.procs" for folder in dict.fromkeys(self.folders.values())]

    def counts(self, kind: str) -> bool:
        """Whether the kernel counts this kind."""
        return kind in self.folders

    def kills(self) -> int:
        """How many processes the kernel has ended for want of memory since the group was made."""
        if not (memory := self.folders.get("memory")):
            return 0
        return (_fields(memory / "memory.events") | _fields(memory / "memory.oom_control")).get("oom_kill", 0)

    def remove(self) -> None:
        """Take the folders away; the processes are gone."""
        for folder in dict.fromkeys(self.folders.values()):
            with contextlib.suppress(OSError):
                folder.rmdir()


def make(limits: Limits) -> Group:
    """A group for one sandbox; one without folders where this process may make none."""
    group = Group(folders={})
    name = f"ayllu-sandbox-{os.getpid()}-{next(_numbers)}"
    memory = (limits.memory_mib + limits.work_mib) << 20
    for kind in KINDS:
        for parent, version in _places(kind):
            folder = parent / name
            try:
                folder.mkdir(exist_ok=True)
                if kind == "memory":
                    (folder / ("memory.max" if version == 2 else "memory.limit_in_bytes")).write_text(str(memory))
                    _no_swap(folder, memory)
                else:
                    (folder / "pids.max").write_text(str(limits.processes + SPARE_PROCESSES))
                group.folders[kind] = folder
                break
            except OSError:
                with contextlib.suppress(OSError):
                    folder.rmdir()
    return group


def _no_swap(folder: Path, memory: int) -> None:
    for file, value in (("memory.swap.max", 0), ("memory.memsw.limit_in_bytes", memory)):
        with contextlib.suppress(OSError):
            if (folder / file).exists():
                (folder / file).write_text(str(value))


def _places(kind: str) -> Iterator[tuple[Path, int]]:
    """Where a group might be made, the nearest first, with the version of cgroups."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kind in kinds.split(","):
                yield MOUNTED / kind / path.lstrip("/"), 1
            elif not kinds:
                own = MOUNTED / path.lstrip("/")
                for parent in (own, *own.parents):
                    if parent == MOUNTED.parent:
                        break
                    with contextlib.suppress(OSError):
                        if kind in (parent / "cgroup.subtree_control").read_text().split():
                            yield parent, 2


def _fields(file: Path) -> dict[str, int]:
    """A file of lines with a name and a number."""
    try:
        return {name: int(number) for name, number in map(str.split, file.read_text().splitlines())}
    except (OSError, ValueError):
        return {}
