"""What a program may take, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["ok", "error", "time", "memory", "processes", "output", "ended", "cancelled"]
"""`ok` ran to its end · `error` raised something, or left with another exit code than 0 · `ended` died by itself ·
`cancelled` was told to stop · the others name the limit that stopped it."""


class NoSandbox(RuntimeError):
    """Nothing on this machine can hold a program: in one sentence what is missing, and what to install. Nothing ran."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a program may take. Each number is above 0."""

    seconds: float = 30.0
    """Of the clock on the wall, for one run."""
    memory_mib: int = 1024
    """Of all its processes together, the files of the work folder aside; one process alone is refused more."""
    processes: int = 64
    """Processes and threads at one time."""
    work_mib: int = 64
    """What the work folder holds."""
    file_mib: int = 32
    """The largest file that can be written."""
    output_kib: int = 256
    """What is kept of stdout, and of stderr; beyond sixteen times as much the program is stopped."""
    returned_mib: int = 16
    """Files and pictures that come back from one run, together."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one run."""

    status: Status
    stdout: str = ""
    stderr: str = ""
    value: str | None = None
    """`repr` of the last expression of a cell."""
    error: str | None = None
    """The traceback, or the sentence that says what stopped it."""
    exit_code: int | None = None
    """What the program left with, where it left by itself."""
    pictures: tuple[bytes, ...] = ()
    """PNG files: the figures that were open at the end."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files of the work folder that are new or changed, by their paths below it."""
    removed: tuple[str, ...] = ()
    """Files of the work folder that are no longer there."""
    notes: tuple[str, ...] = ()
    """Sentences: what was cut or left out."""
    seconds: float = 0.0
    state_kept: bool = False
    """Whether the next run of the session finds what this one made."""
