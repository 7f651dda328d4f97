"""matplotlib's list of fonts, made once for a machine: it takes seconds, and every new sandbox would make it again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ayllu.sandbox.outcome import Outcome

SECONDS = 60.0
MAKE = """
import pathlib, shutil
import matplotlib.font_manager
for file in pathlib.Path(matplotlib.get_cachedir()).glob("fontlist-*.json"):
    shutil.copy(file, file.name)
"""


def options(names: Sequence[str], make: Callable[[str], Outcome]) -> list[str]:
    """Options of bubblewrap that bring the list in; `make` runs a program in a sandbox, where there is none yet."""
    try:
        folder = _cache() / f"matplotlib-{version('matplotlib')}" if "matplotlib" in names else None
    except PackageNotFoundError:
        folder = None
    if folder is None:
        return []
    try:
        found = sorted(folder.glob("fontlist-*.json"))
        if not found:
            folder.mkdir(parents=True, exist_ok=True)
            found = _keep(folder, make(MAKE))
    except OSError:  # a home that cannot be written to: matplotlib takes its seconds then
        return []
    return [word for file in found for word in ("--ro-bind", str(file), f"/tmp/{file.name}")]


def _keep(folder: Path, outcome: Outcome) -> list[Path]:
    kept = []
    for name, content in outcome.files.items():
        if name.startswith("fontlist-") and name.endswith(".json") and "/" not in name:
            unfinished = folder / f".{os.getpid()}.unfinished"
            unfinished.write_bytes(content)
            kept.append(unfinished.replace(folder / name))
    return kept


def _cache() -> Path:
    """Beside what else is downloaded or made again: `$AYLLU_CACHE`, or `~/.cache/ayllu`."""
    given = os.environ.get("AYLLU_CACHE")
    return (Path(given) if given else Path.home() / ".cache" / "ayllu") / "sandbox"
