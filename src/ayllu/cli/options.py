"""What commands share: the options `--home` and `--json`, explained once, and how a result is printed."""

from __future__ import annotations

import math
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
    """One JSON object on stdout, on one line unless `indent` says how deep; a figure that is no number is null."""
    text = visible_json(value, indent=indent)
    if "NaN" in text or "Infinity" in text:  # of which JSON knows neither
        text = visible_json(_finite(value), indent=indent)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_lines(lines: Iterable[str]) -> None:
    """Each of `lines` on stdout, with the end that it lacks: one line each, whatever a file has put into it."""
    sys.stdout.writelines(f"{visible(line)}\n" for line in lines)
