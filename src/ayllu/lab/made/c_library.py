"""C code as a library: compiled for this processor at first use and kept by the digest of what makes it, or carried."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.lab.made.families import FAMILIES, Family
from ayllu.lab.made.kept import is_whole, keep
from ayllu.lab.progress import say
from ayllu.lab.visible import visible

COMPILERS = ("cc", "gcc", "clang")
LIBRARIES = ("-lm", "-lpthread")
NATIVE = "-march=native"
CARRIED = Path(__file__).with_name("carried")
"""What a wheel that was made with `make wheel` brings."""


def compiler() -> str | None:
    """The C compiler: what CC says, or one that is there."""
    return os.environ.get("CC") or next(filter(None, map(shutil.which, COMPILERS)), None)


@dataclass(frozen=True, kw_only=True)
class Code:
    """C code that becomes a library."""

    name: str
    package: str
    """The one whose folder `c` holds it."""
    files: tuple[str, ...]
    """Those that end with .c are compiled, the others are for them to include."""
    flags: tuple[str, ...]
    title: str
    """What users know it by."""

    def sources(self) -> dict[str, str]:
        """What stands in each file."""
        folder = resources.files(self.package) / "c"
        return {name: (folder / name).read_text(encoding="utf-8") for name in self.files}


def compiled(code: Code, flags: Sequence[str], folder: Path) -> Path:
    """The library, for this machine where `flags` say so: one that the package carries, or else one in `folder`.

    That is made by the C compiler unless it is there. Raises UserError without a compiler, or one that takes the code.
    """
    if NATIVE in flags and (carried := _carried(code, [flag for flag in flags if flag != NATIVE])) is not None:
        return carried
    command = compiler()
    if command is None:
        raise UserError(f"{code.title} is compiled at first use, and there is no C compiler here; install gcc or clang")
    sources, flags = code.sources(), (*code.flags, *flags)
    path = folder / f"{code.name}-{_digest(sources, command, flags, _processor())}.so"
    if is_whole(path):  # one that is cut short ends the process when it is opened
        return path
    say(f"compiling {code.title} for this processor, once")
    _make(code, sources, command, flags, path)
    return path


def carry(code: Code, family: Family, command: str) -> Path:
    """Make the library for a family of processors, for the package to carry; UserError where `command` cannot."""
    flags = (*code.flags, *family.flags)
    path = CARRIED / _carried_name(code, family, ())
    _make(code, code.sources(), command, flags, path)
    return path


def _carried(code: Code, more: Sequence[str]) -> Path | None:
    """The library that the package carries for this processor and that can be opened here."""
    for family in FAMILIES if CARRIED.is_dir() else ():  # its name is that of all sources, which are long to read
        path = CARRIED / _carried_name(code, family, more)
        if family.fits() and is_whole(path):
            try:
                ctypes.CDLL(str(path))
            except OSError:  # it was made for a newer C library than there is here
                continue
            return path
    return None


def _carried_name(code: Code, family: Family, more: Sequence[str]) -> str:
    return f"{code.name}-{family.name}-{_digest(code.sources(), (*code.flags, *more))}.so"


def _digest(*told: object) -> str:
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def _make(code: Code, sources: Mapping[str, str], command: str, flags: Sequence[str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as made:
        for source, text in sources.items():
            (Path(made) / source).parent.mkdir(parents=True, exist_ok=True)
            (Path(made) / source).write_text(text, encoding="utf-8")
        units = [str(Path(made) / source) for source in sources if source.endswith(".c")]
        _run([*_words(command), *flags, "-o", str(Path(made) / path.name), *units, *LIBRARIES], command, code.title)
        # Whole or not at all, whoever else compiles it at the same time.
        keep(Path(made) / path.name, path)


def _run(words: Sequence[str], command: str, title: str) -> None:
    try:
        run = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(
            f"the C compiler {visible(command)} cannot be started ({error.strerror}); set CC to one that is here"
        ) from None
    if run.returncode != 0:
        first = next(iter(run.stderr.splitlines()), "no message")
        raise UserError(f"{command} cannot compile {title} ({first}); set CC to another compiler")


def _words(command: str) -> list[str]:
    """What CC says, a program's path that may hold a space, or a program and options as a shell reads them."""
    try:
        return [command] if shutil.which(command) else shlex.split(command)
    except ValueError:
        raise UserError(f"CC is {visible(command)}, whose quotes do not close; set it to a C compiler") from None


def _processor() -> str:
    """What tells processors apart: code for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    told = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return platform.machine() + repr(sorted(set(told)))
