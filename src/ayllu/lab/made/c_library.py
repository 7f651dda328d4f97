"""C code as a library: compiled for this processor at first use, kept by the digest of what makes it."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.lab.made.kept import is_whole, keep
from ayllu.lab.progress import say
from ayllu.lab.visible import visible

COMPILERS = ("cc", "gcc", "clang")
LIBRARIES = ("-lm", "-lpthread")


def compiler() -> str | None:
    """The C compiler: what CC says, or one that is there."""
    return os.environ.get("CC") or next(filter(None, map(shutil.which, COMPILERS)), None)


def compiled(name: str, sources: Mapping[str, str], flags: Sequence[str], folder: Path, *, title: str) -> Path:
    """The library `name` of these sources (file name to text), in `folder`; made by the C compiler unless it is there.

    Those that end with .c are compiled, the others are for them to include. `title` is what users know it by. Raises
    UserError without a compiler, or one that takes the code.
    """
    command = compiler()
    if command is None:
        raise UserError(f"{title} is compiled at first use, and there is no C compiler here; install gcc or clang")
    told = (dict(sources), command, tuple(flags), _processor())
    path = folder / f"{name}-{hashlib.sha256(repr(told).encode()).hexdigest()[:16]}.so"
    if is_whole(path):  # one that is cut short ends the process when it is opened
        return path
    say(f"compiling {title} for this processor, once")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as made:
        for source, text in sources.items():
            (Path(made) / source).parent.mkdir(parents=True, exist_ok=True)
            (Path(made) / source).write_text(text, encoding="utf-8")
        units = [str(Path(made) / source) for source in sources if source.endswith(".c")]
        _run([*_words(command), *flags, "-o", str(Path(made) / path.name), *units, *LIBRARIES], command, title)
        # Whole or not at all, whoever else compiles it at the same time.
        keep(Path(made) / path.name, path)
    return path


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
