"""Files on their way into a sandbox and out of it: always copies, never through a link, never outside a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

LONGEST_NAME = 1024


def checked(name: str) -> str:
    """`name` where it names a file below a folder, by its parts alone. Raises ValueError."""
    parts = PurePosixPath(name).parts
    if (
        not parts
        or len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME
        or name != "/".join(parts)
        or any(part in ("/", "..", ".") or not part.isprintable() for part in parts)
    ):
        raise ValueError(f"{name!r} is no path of a file below a folder")
    return name


def take(folder: Path, *, most: int) -> dict[str, bytes]:
    """The regular files of a folder and of those below it, by path; links are left where they are.

    Raises ValueError where there are more than `most` bytes of them, or a name is no plain path.
    """
    found: dict[str, bytes] = {}
    size = 0
    for place, _, names, door in os.fwalk(folder, follow_symlinks=False):
        for name in sorted(names):
            try:
                fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=door)
            except OSError:
                continue
            with open(fd, "rb") as file:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    continue
                content = file.read(most - size + 1)
            size += len(content)
            if size > most:
                raise ValueError(f"{folder} holds more than {most:,} bytes: give fewer files, or a larger work folder")
            found[checked(str(PurePosixPath(place).relative_to(folder) / name))] = content
    return found


def give(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write `files` below `folder`, in place of those that have their names; a link on the way is an OSError."""
    written = []
    for name, content in files.items():
        *above, last = PurePosixPath(checked(name)).parts
        door = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in above:
                if not _is_there(part, door):
                    os.mkdir(part, 0o700, dir_fd=door)
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=door)
                os.close(door)
                door = inner
            unfinished = f".{os.getpid()}.unfinished"
            fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600, dir_fd=door)
            with open(fd, "wb") as file:
                file.write(content)
            os.replace(unfinished, last, src_dir_fd=door, dst_dir_fd=door)
        finally:
            os.close(door)
        written.append(folder / name)
    return written


def _is_there(name: str, door: int) -> bool:
    try:
        os.lstat(name, dir_fd=door)
    except FileNotFoundError:
        return False
    return True
