"""What commands share: the options `--home` and `--json`, explained once, and how a result is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

Home = Annotated[
    Path | None, Parameter(help="Folder for artifacts; $AYLLU_HOME or ~/.local/share/ayllu when not given.")
]
Json = Annotated[bool, Parameter(negative="", help="Print one JSON object on stdout.")]
Flag = Annotated[bool, Parameter(negative="")]
"""An option that is there or not, without a `--no-` form; its docstring explains it."""


def print_json(value: Any, *, indent: int | None = None) -> None:
    """One JSON object on stdout, on one line unless `indent` says how deep."""
    sys.stdout.write(json.dumps(value, indent=indent, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_lines(lines: Iterable[str]) -> None:
    """Each of `lines` on stdout, with the end that it lacks."""
    sys.stdout.writelines(f"{line}\n" for line in lines)
