"""Files beside the code that its texts name: data that a result depends on as much as on a constant."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

from ayllu.lab.code.syntax import DIGEST

PACKAGE = "ayllu"
DEPTH = 3
"""Folders below a module, each of which the code names too, in which a file that it names is looked for."""


def packaged(mentions: Collection[str]) -> dict[str, str]:
    """Digests of the files in our package that are no code and are mentioned by their names."""
    return {path: digest for name in mentions for path, digest in _ours().get(name, ())}


@cache
def _ours() -> dict[str, list[tuple[str, str]]]:
    """Path and digest of each file in the package that is no code, by its name."""
    found: dict[str, list[tuple[str, str]]] = {}
    root = Path(__file__).parents[2]
    for path in root.rglob("*"):
        if path.suffix not in ("", ".py", ".pyc") and path.is_file():
            found.setdefault(path.name, []).append((f"{PACKAGE}/{path.relative_to(root).as_posix()}", _digest(path)))
    return found


def files_near(modules: Mapping[Path, str], mentions: Collection[str]) -> dict[str, str]:
    """Digests of the files that are mentioned and lie in folders of modules, or below them in folders mentioned too.

    `modules` says what to call each folder: the package, or the module, whose it is.
    """
    names = {name for name in mentions if name and len(name) < 100 and not name.startswith("/") and "\0" not in name}
    words = {part for name in names for part in name.split("/")} - {"", ".", ".."}
    files = {name for name in names if "." in name and not name.endswith(".py")}
    found = {}
    folders = {**{_package(path)[0]: _package(path)[1] for path in modules if _package(path)[1]}, **modules}
    for folder, label in folders.items():
        for below in _below(folder, words, DEPTH):
            for path in (below / name for name in files):
                if path.is_file():
                    found[f"{label}/{path.relative_to(folder).as_posix()}"] = _digest(path)
    return found


def _package(folder: Path) -> tuple[Path, str]:
    """The folder of the outermost package around a folder, and its name; no name where there is none."""
    name = ""
    while (folder / "__init__.py").is_file():
        name, folder = folder.name, folder.parent
    return (folder / name if name else folder), name


def _below(folder: Path, words: Collection[str], depth: int) -> list[Path]:
    inner = [path for word in words if (path := folder / word).is_dir()] if depth else []
    return [folder, *(found for path in inner for found in _below(path, words, depth - 1))]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:DIGEST]
