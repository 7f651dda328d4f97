"""Whether files are still what was written: by their digests, read again only where a file may have changed."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from ayllu.lab.key import file_digest
from ayllu.lab.progress import bar

LARGE = 1 << 30
"""Checks that read more bytes show a progress bar."""
FINE_NS, COARSE_NS = 50_000_000, 2_000_000_000
"""A file that was changed less than this before it was read may change again without another time: what is read of it
is not remembered. File systems count time in ticks of at most 10 ms, some in whole seconds."""


def regular_text(path: Path) -> str:
    """The text of a small file. Raises OSError, also for a pipe or device, which would never end."""
    _check_regular(path)
    return path.read_text(encoding="utf-8")


def regular_bytes(path: Path) -> bytes:
    """As `regular_text`, of a file of which parts may be no text."""
    _check_regular(path)
    return path.read_bytes()


def strict_json(text: str | bytes) -> Any:
    """A JSON value that every program reads alike.

    Raises ValueError also for a name that stands twice in one object, of which some programs take the first and some
    the last, and for NaN and infinite numbers, which are no JSON.
    """
    return json.loads(text, object_pairs_hook=unique_names, parse_constant=_no_number)


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of its names and values (an `object_pairs_hook`). Raises ValueError where a name stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:100]!r} stands twice in one object, so that programs read different values")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _check_regular(path: Path) -> None:
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))


class Digests:
    """The sha256 of the files of a folder, remembered in the file `record` by size, times and inode.

    The record is a help only: where it cannot be read or written, files are read again.
    """

    def __init__(self, folder: Path, record: Path | None) -> None:
        self.folder, self._record = folder, record
        self._known: dict[str, Any] = {}
        with suppress(OSError, ValueError, RecursionError):
            known = json.loads(regular_text(record)) if record else {}
            self._known = known if isinstance(known, dict) else {}
        self._changed = False

    def known(self, name: str) -> bool:
        """Whether the digest of a file is remembered, so that it need not be read."""
        return self._remembered(name, _facts(self.folder / name)) is not None

    def of(self, name: str, *, again: bool = False, read: Callable[[int], None] = lambda count: None) -> str:
        """The digest of a file; `again` reads it even where it is remembered. Raises OSError."""
        path = self.folder / name
        facts = _facts(path)
        if not again and (digest := self._remembered(name, facts)):
            return digest
        digest = file_digest(path, read)
        if facts == _facts(path) and _settled(facts):
            self._keep(name, facts, digest)
        return digest

    def of_all(self, what: str, names: Iterable[str], compute: Callable[[], str]) -> str:
        """What `compute` finds in several files together, remembered as `what` while none of them changes."""
        paths = [self.folder / name for name in names]
        facts = [_facts(path) for path in paths]
        if found := self._remembered(f"/{what}", facts):
            return found
        found = compute()
        if facts == [_facts(path) for path in paths] and all(map(_settled, facts)):
            self._keep(f"/{what}", facts, found)
        return found

    def _remembered(self, name: str, facts: Any) -> str | None:
        entry = self._known.get(name)
        if facts is None or not isinstance(entry, dict) or entry.get("facts") != facts:
            return None
        return str(entry.get("sha256"))

    def _keep(self, name: str, facts: Any, digest: str) -> None:
        self._known[name] = {"facts": facts, "sha256": digest}
        self._changed = True

    def save(self) -> None:
        """Write the record, where something new is in it and it can be written."""
        if not self._changed or self._record is None:
            return
        draft = self._record.with_name(f"{self._record.name}.{os.getpid()}")
        with suppress(OSError):
            self._record.parent.mkdir(parents=True, exist_ok=True)
            try:
                draft.write_text(json.dumps(self._known), encoding="utf-8")
                draft.replace(self._record)
            finally:
                draft.unlink(missing_ok=True)


def damages(digests: Digests, files: Mapping[str, Mapping[str, Any]], *, full: bool = False) -> list[str]:
    """What of `files` (`bytes` and `sha256` by relative path) is no longer so, one phrase each; empty where all is.

    With `full` every byte is read, also of files that seem unchanged.
    """
    found = {name: _misfit(digests.folder / name, entry) for name, entry in files.items()}
    unread = [name for name in files if not found[name] and (full or not digests.known(name))]
    total = sum(files[name]["bytes"] for name in unread)
    with bar("check", total=total / 1e6, unit="MB", shown=total > LARGE) as progress:

        def read(count: int) -> None:
            progress.advance(count / 1e6)

        for name in (name for name in files if not found[name]):
            try:
                if digests.of(name, again=full, read=read) != files[name]["sha256"]:
                    found[name] = "is not what was written"
            except OSError as error:
                found[name] = f"cannot be read ({error.strerror})"
    digests.save()
    return [f"{shown(name)} {what}" for name, what in found.items() if what]


def unlisted(folder: Path, files: Iterable[str], *, besides: Iterable[str] = ()) -> list[str]:
    """Files below `folder` that are neither in `files` nor `besides`; hidden ones are nobody's."""
    known = {*files, *besides}
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return sorted(name for name in names if name not in known and not f"/{name}".count("/."))


def listed_files(value: Any) -> dict[str, dict[str, Any]] | None:
    """`value` where it is what a manifest lists: `bytes` and `sha256` of files inside its folder; else None."""
    if not isinstance(value, dict):
        return None
    for name, entry in value.items():
        digest = entry.get("sha256") if isinstance(entry, dict) else None
        size = entry.get("bytes") if isinstance(entry, dict) else None
        inside = not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts and "\0" not in name
        if not (inside and isinstance(size, int) and isinstance(digest, str) and len(digest) == 64):
            return None
    return value


def shown(text: str) -> str:
    """A file's name or content as visible text in quotes, cut where it is long."""
    return repr(text if len(text) <= 80 else text[:79] + "…")


def _misfit(path: Path, entry: Mapping[str, Any]) -> str:
    """What is wrong with a file before its content is read: nothing is opened that is no regular file."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file"
    return "" if found.st_size == entry["bytes"] else f"has {found.st_size:,} bytes of {entry['bytes']:,}"


def _facts(path: Path) -> list[int] | None:
    """What the file system tells of a file, which changes with its content; None where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _settled(facts: list[int] | None) -> bool:
    if facts is None:
        return False
    _, changed, moved, _ = facts
    coarse = changed % 1_000_000_000 == 0 and moved % 1_000_000_000 == 0
    return time.time_ns() - max(changed, moved) > (COARSE_NS if coarse else FINE_NS)
