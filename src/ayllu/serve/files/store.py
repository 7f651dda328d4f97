"""Uploaded files in a folder: their bytes, and a database that says which of them there are.

A file is there when its row is: bytes come to `incoming/`, are moved to `content/` when they are complete and on disk,
and then the row is written. What a kill leaves without a row is removed when the store is opened again; a lock on each
file tells what another server is still writing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ayllu.serve.files.database import Database

SCHEMA = (
    """CREATE TABLE files (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        filename TEXT NOT NULL,
        purpose TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER
    );
    CREATE INDEX files_of ON files (owner, number)""",
    """CREATE TABLE gone (
        place INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, id TEXT NOT NULL, number INTEGER NOT NULL
    );
    CREATE INDEX gone_of ON gone (owner, id)""",
)
MOST_GONE = 10_000
"""Of deleted files so many places in the list are known: a client that deletes what it lists goes on behind them."""


class NoRoom(Exception):
    """The files of this server have all the bytes that they may have together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """A file that was uploaded."""

    id: str
    filename: str
    """As the client called it; never the name of a file here."""
    purpose: str
    bytes: int
    created_at: int
    """Seconds since 1970, as the next."""
    expires_at: int | None = None


class Incoming:
    """A file on its way: `write` it, and hand it to `FileStore.keep` or `drop` it."""

    def __init__(self, folder: Path) -> None:
        self.id = f"file-{secrets.token_hex(16)}"
        self.path = folder / self.id
        self.bytes = 0
        self._file: IO[bytes] = os.fdopen(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self.bytes += self._file.write(data)

    def settle(self) -> None:
        """Return when all bytes are on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file and of the lock on it."""
        self._file.close()

    def drop(self) -> None:
        """Forget it."""
        with contextlib.suppress(OSError):
            self.close()
        self.path.unlink(missing_ok=True)


class FileStore:
    """The files in `folder`, at most `most_bytes` of them together. Methods may raise OSError and sqlite3.Error."""

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self._incoming, self._content, self._most_bytes = folder / "incoming", folder / "content", most_bytes
        for place in (folder, self._incoming, self._content):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._database = Database(folder / "files.sqlite", SCHEMA)
        self._sweep()
        self.gone: Callable[[str], None] = lambda number: None
        """Told the id of each file that was deleted or has expired."""

    def begin(self) -> Incoming:
        """A place for a file that is coming."""
        return Incoming(self._incoming)

    def keep(
        self, incoming: Incoming, *, owner: str, filename: str, purpose: str, seconds: int | None = None
    ) -> StoredFile:
        """Make an incoming file one that is there, for `seconds` or until it is deleted. Raises NoRoom."""
        now = int(time.time())
        try:
            incoming.settle()
            incoming.path.replace(self._content / incoming.id)
            incoming.path = self._content / incoming.id
            _settle_names(self._content)
            kept = StoredFile(
                id=incoming.id,
                filename=filename,
                purpose=purpose,
                bytes=incoming.bytes,
                created_at=now,
                expires_at=now + seconds if seconds is not None else None,
            )
            with self._database.writing() as cursor:
                (held,) = cursor.execute("SELECT coalesce(sum(bytes), 0) FROM files").fetchone()
                if held + kept.bytes > self._most_bytes:
                    raise NoRoom
                cursor.execute(
                    "INSERT INTO files (id, owner, filename, purpose, bytes, created_at, expires_at) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (kept.id, owner, filename, purpose, kept.bytes, kept.created_at, kept.expires_at),
                )
        except BaseException:
            incoming.drop()
            raise
        incoming.close()
        return kept

    def find(self, number: str, owner: str) -> StoredFile | None:
        """A file of `owner` by its id; None where there is none, or none any more."""
        self._expire()
        rows = self._database.rows("SELECT * FROM files WHERE id = ? AND owner = ?", number, owner)
        return _stored(rows[0]) if rows else None

    def all(
        self,
        owner: str,
        *,
        purpose: str | None = None,
        after: str | None = None,
        limit: int,
        oldest_first: bool = False,
    ) -> tuple[list[StoredFile], bool]:
        """At most `limit` files of `owner`, those behind `after`, and whether there are more. KeyError: no `after`."""
        self._expire()
        query, values = "SELECT * FROM files WHERE owner = ?", [owner]
        if purpose is not None:
            query, values = f"{query} AND purpose = ?", [*values, purpose]
        if after is not None:
            at = self._database.rows(
                "SELECT number FROM files WHERE id = ? AND owner = ? "
                "UNION ALL SELECT number FROM gone WHERE id = ? AND owner = ?",
                *(after, owner, after, owner),
            )
            if not at:
                raise KeyError(after)
            query, values = f"{query} AND number {'>' if oldest_first else '<'} ?", [*values, at[0]["number"]]
        order = "ASC" if oldest_first else "DESC"
        rows = self._database.rows(f"{query} ORDER BY number {order} LIMIT ?", *values, limit + 1)
        return [_stored(row) for row in rows[:limit]], len(rows) > limit

    def path(self, file: StoredFile) -> Path:
        """Where the bytes of `file` are."""
        return self._content / file.id

    def delete(self, number: str, owner: str) -> bool:
        """Delete a file; whether it was there."""
        with self._database.writing() as cursor:
            _leave(cursor, "id = ? AND owner = ?", number, owner)
            gone = cursor.execute("DELETE FROM files WHERE id = ? AND owner = ?", (number, owner)).rowcount
        if gone:
            (self._content / number).unlink(missing_ok=True)
            self._database.settle()
            self.gone(number)
        return bool(gone)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def _expire(self) -> None:
        now = int(time.time())
        expired = self._database.rows("SELECT id FROM files WHERE expires_at <= ?", now)
        if not expired:
            return
        with self._database.writing() as cursor:
            _leave(cursor, "expires_at <= ?", now)
            cursor.execute("DELETE FROM files WHERE expires_at <= ?", (now,))
        for row in expired:
            (self._content / row["id"]).unlink(missing_ok=True)
            self.gone(row["id"])
        self._database.settle()

    def _sweep(self) -> None:
        """Remove what has no row and is written by nobody."""
        for path in [*self._incoming.iterdir(), *self._content.iterdir()]:
            with _unlocked(path) as free:
                if free and not self._database.rows("SELECT 1 FROM files WHERE id = ?", path.name):
                    path.unlink(missing_ok=True)


@contextlib.contextmanager
def _unlocked(path: Path) -> Iterator[bool]:
    """Whether nobody has a lock on the file; while the block runs nobody gets one."""
    try:
        file = path.open("rb")
    except OSError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def _settle_names(folder: Path) -> None:
    """Return when what `folder` lists is on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _leave(cursor: sqlite3.Cursor, where: str, *values: object) -> None:
    """Keep the places in the list that files have which are about to be deleted."""
    query = f"INSERT INTO gone (owner, id, number) SELECT owner, id, number FROM files WHERE {where}"
    cursor.execute(query, values)
    cursor.execute("DELETE FROM gone WHERE place <= (SELECT max(place) FROM gone) - ?", (MOST_GONE,))


def _stored(row: object) -> StoredFile:
    fields = dict(row)  # type: ignore[call-overload]
    return StoredFile(**{name: fields[name] for name in StoredFile.__slots__})
