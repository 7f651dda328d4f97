"""What commands share: the options `--home` and `--json`, explained once, and how a result is printed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ayllu.lab.visible import visible, visible_json

Home = Annotated[
    Path | None, Parameter(help="Folder for artifacts; $AYLLU_HOME or ~/.local/share/ayllu when not given.")
]
Json = Annotated[bool, Parameter(negative="", help="Print one JSON object on stdout.")]
Flag = Annotated[bool, Parameter(negative="")]
"""An option that is there or not, without a `--no-` form; its docstring explains it."""


def print_json(value: Any, *, indent: int | None = None) -> None:
    """One JSON object on stdout, on one line unless `indent` says how deep."""
    sys.stdout.write(visible_json(value, indent=indent) + "\n")
    sys.stdout.flush()


def print_lines(lines: Iterable[str]) -> None:
    """Each of `lines` on stdout, with the end that it lacks: one line each, whatever a file has put into it."""
    sys.stdout.writelines(f"{visible(line)}\n" for line in lines)
