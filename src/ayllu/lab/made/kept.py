"""Files that are made once and kept beside the downloads: whole with their digest, or made again."""

from __future__ import annotations

from pathlib import Path

from ayllu.lab.integrity import Digests
from ayllu.lab.key import file_digest


def keep(made: Path, path: Path) -> None:
    """Move `made`, which lies in a folder of its own, to `path`, its digest beside it; others may do the same."""
    digest = made.with_name(f"{made.name}.sha256")
    digest.write_text(file_digest(made), encoding="ascii")
    digest.replace(_digest_of(path))
    made.replace(path)


def is_whole(path: Path) -> bool:
    """Whether `path` is there and what was written; it is read only where it may have changed since the last time."""
    digests = Digests(path.parent, path.parent / "digests.json")
    try:
        return digests.of(path.name) == _digest_of(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return False
    finally:
        digests.save()


def _digest_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
