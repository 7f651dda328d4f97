"""What of this machine's Python is seen inside: the interpreter, and the packages that are asked for, read-only."""

from __future__ import annotations

import functools
import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

PACKAGES = ("numpy", "matplotlib", "scipy", "pandas", "sympy")
"""What a program may import beside the standard library, as far as it is installed."""
PYTHON, PLACE = Path("/opt/python"), Path("/opt/packages")
"""Where they are inside, so that no path tells whose machine it is."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def interpreter() -> tuple[list[str], str]:
    """Options of bubblewrap that bring Python in, and the path that it has inside."""
    base = Path(sys.base_prefix).resolve()
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    if base.is_relative_to("/usr"):  # which is there anyhow
        return [], str(executable)
    return ["--ro-bind", str(base), str(PYTHON)], str(PYTHON / executable.relative_to(base))


@functools.cache
def binds(names: tuple[str, ...]) -> tuple[str, ...]:
    """Options of bubblewrap that bring in the installed ones among `names`, and what each of them needs."""
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        try:
            one = found.get(name) or distribution(name)
        except PackageNotFoundError:
            continue
        if name not in found:
            found[name] = one
            # What is needed for an extra only carries the marker `extra == …`.
            needed = (NAME.match(line) for line in one.requires or () if "extra ==" not in line)
            waiting += [match[0] for match in needed if match]
    options: list[str] = []
    for one in found.values():
        for top in sorted({file.parts[0] for file in one.files or () if file.parts[0] not in ("..", "__pycache__")}):
            place = Path(str(one.locate_file(top)))
            if place.exists() and not top.endswith(".pth"):
                options += ["--ro-bind", str(place), str(PLACE / top)]
    return tuple(options)
