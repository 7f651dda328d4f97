"""What lies in the folder of a release, by kind and size, before a byte of it is read; and reading that cannot hang."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

MOST_FILES, DEEPEST = 100_000, 16
HOLES_FROM = 1 << 30
"""Bytes from which a file must lie on the disk for at least a quarter: one made of holes is nothing but time."""
SMALL = 64 << 20
"""Bytes of the largest file that is read whole: a manifest, a signature, a page."""
_HUB = re.compile(
    r"\.cache/huggingface/(\.gitignore(\.lock)?|CACHEDIR\.TAG|trees/[0-9a-f]{40}\.json|(download|upload)/.+\.(metadata|lock))"
)
"""What huggingface_hub 2.4.0 leaves in the folder that it downloads into (`_local_folder.py`, `_tree_cache.py`)."""


@dataclass(kw_only=True, slots=True)
class Listing:
    """The entries below a folder."""

    files: dict[str, int] = field(default_factory=dict)
    """Path with slashes to size in bytes, of each regular file."""
    refused: dict[str, str] = field(default_factory=dict)
    """Path to why it is no part of a release, for everything else."""
    beside: list[str] = field(default_factory=list)
    """What git and the hub's client put beside a release."""


def list_folder(folder: Path) -> Listing:
    """Look at every entry below `folder`; nothing is opened, and no link is followed but those of the hub's cache."""
    found, waiting = Listing(), [("", 0)]
    while waiting:
        inside, depth = waiting.pop()
        if depth > DEEPEST:
            found.refused[inside] = f"lies more than {DEEPEST} folders deep"
            continue
        try:
            with os.scandir(folder / inside) as entries:
                for entry in entries:
                    if len(found.files) + len(found.refused) > MOST_FILES:
                        found.refused = {".": f"holds more than {MOST_FILES:,} files"}
                        return found
                    path = f"{inside}/{entry.name}" if inside else entry.name
                    if entry.is_dir(follow_symlinks=False) and path == ".git" and _is_repository(folder / path):
                        found.beside.append(".git")
                    elif entry.is_dir(follow_symlinks=False):
                        waiting.append((path, depth + 1))
                    else:
                        _add_file(folder, path, entry, found)
        except OSError as error:
            found.refused[inside or "."] = f"cannot be read ({error.strerror})"
    return found


def _add_file(folder: Path, path: str, entry: os.DirEntry[str], found: Listing) -> None:
    try:
        about = entry.stat(follow_symlinks=entry.is_symlink() and _in_hub_cache(folder, Path(entry.path)))
    except OSError as error:
        found.refused[path] = f"cannot be read ({error.strerror})"
        return
    if not stat.S_ISREG(about.st_mode):
        found.refused[path] = "is a link or no regular file; a release holds files only"
    elif about.st_size >= HOLES_FROM and about.st_blocks * 512 < about.st_size // 4:
        found.refused[path] = f"says {about.st_size:,} bytes, but is mostly holes; no model looks like that"
    else:
        found.files[path] = about.st_size


def _in_hub_cache(folder: Path, link: Path) -> bool:
    """Whether a link leads from a snapshot in the cache of the hub's client to a file of the same repository."""
    snapshot = folder.absolute()
    target = Path(os.path.normpath(link.absolute().parent / link.readlink()))
    return snapshot.parent.name == "snapshots" and target.parent == snapshot.parent.parent / "blobs"


def _is_repository(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir()


def left_by_tools(path: str) -> bool:
    """Whether git's hosting or the hub's client writes a file of this name beside what it fetches."""
    return path == ".gitattributes" or _HUB.fullmatch(path) is not None


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises OSError for anything else, and never waits for a writer."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "no regular file", str(path))
    return os.fdopen(handle, "rb")


def read_small(path: Path, most: int = SMALL) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises OSError for any other."""
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(0, f"it has more than {most:,} bytes", str(path))
    return content
