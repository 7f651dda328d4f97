"""Which files are known, what stands on their pages, and where their passages are; the index is beside it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ayllu.serve.files.database import Database

State = Literal["reading", "ready", "unread"]
SCHEMA = (
    """CREATE TABLE files (
        id TEXT PRIMARY KEY, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, changed INTEGER NOT NULL,
        digest TEXT, state TEXT NOT NULL, reason TEXT, reader INTEGER NOT NULL,
        characters INTEGER NOT NULL DEFAULT 0, passages INTEGER NOT NULL DEFAULT 0, added_at INTEGER NOT NULL
    );
    CREATE TABLE pages (
        file TEXT NOT NULL REFERENCES files ON DELETE CASCADE, number INTEGER NOT NULL, label TEXT NOT NULL,
        text TEXT NOT NULL, PRIMARY KEY (file, number)
    );
    CREATE TABLE passages (
        file TEXT NOT NULL REFERENCES files ON DELETE CASCADE, number INTEGER NOT NULL, page INTEGER NOT NULL,
        first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (file, number)
    ) WITHOUT ROWID""",
)
READER = 2
"""Which way of reading and cutting the passages are of; files of an older one are read again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file that is known."""

    id: str
    path: str
    size: int
    changed: int
    """When it was changed, in nanoseconds since 1970."""
    digest: str | None
    """sha256 of what was read."""
    state: State
    reason: str | None
    """Why it is not read."""
    reader: int
    characters: int
    passages: int
    added_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a passage is: characters `first` to `last` of a page."""

    page: int
    label: str
    first: int
    last: int


class Catalogue:
    """The known files, in one file of SQLite."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA)

    def files(self) -> list[File]:
        """All of them, by path."""
        rows = self._database.rows("SELECT * FROM files ORDER BY path")
        return [File(**dict(row)) for row in rows]

    def find(self, name: str) -> File | None:
        """The file with that id or path."""
        rows = self._database.rows("SELECT * FROM files WHERE id = ? OR path = ?", name, name)
        return File(**dict(rows[0])) if rows else None

    def begin(self, id: str, path: str, *, size: int, changed: int) -> None:
        """Say that a file is being read: it is found again only when that is finished."""
        with self._database.writing() as cursor:
            cursor.execute(
                "INSERT INTO files (id, path, size, changed, state, reader, added_at)"
                " VALUES (?, ?, ?, ?, 'reading', ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET size = excluded.size, changed = excluded.changed, state = 'reading',"
                " reader = excluded.reader, digest = NULL, reason = NULL, characters = 0, passages = 0",
                (id, path, size, changed, READER, int(time.time())),
            )
            cursor.execute("DELETE FROM pages WHERE file = ?", (id,))
            cursor.execute("DELETE FROM passages WHERE file = ?", (id,))

    def finish(self, id: str, digest: str, pages: Sequence[tuple[str, str]], places: Iterable[Place]) -> None:
        """Keep what a file holds; its passages are in the index."""
        with self._database.writing() as cursor:
            rows = [(id, number, label, text) for number, (label, text) in enumerate(pages, start=1)]
            cursor.executemany("INSERT INTO pages VALUES (?, ?, ?, ?)", rows)
            parts = [(id, number, one.page, one.first, one.last) for number, one in enumerate(places)]
            cursor.executemany("INSERT INTO passages VALUES (?, ?, ?, ?, ?)", parts)
            cursor.execute(
                "UPDATE files SET state = 'ready', digest = ?, characters = ?, passages = ? WHERE id = ?",
                (digest, sum(len(text) for _, text in pages), len(parts), id),
            )

    def fail(self, id: str, reason: str) -> None:
        """Say that a file is not read, and why."""
        with self._database.writing() as cursor:
            cursor.execute("UPDATE files SET state = 'unread', reason = ? WHERE id = ?", (reason, id))

    def touch(self, id: str, *, size: int, changed: int) -> None:
        """Note a new time of a file whose content is the same."""
        with self._database.writing() as cursor:
            cursor.execute("UPDATE files SET size = ?, changed = ? WHERE id = ?", (size, changed, id))

    def remove(self, id: str) -> None:
        """Forget a file."""
        with self._database.writing() as cursor:
            cursor.execute("DELETE FROM files WHERE id = ?", (id,))

    def compact(self) -> None:
        """Leave no byte of what was removed, and give back its room."""
        self._database.shrink()

    def place(self, file: str, number: int) -> Place | None:
        """Where a passage of a file is; None where the file is not ready."""
        rows = self._database.rows(
            "SELECT page, label, first, last FROM passages JOIN pages"
            " ON pages.file = passages.file AND pages.number = passages.page JOIN files ON files.id = passages.file"
            " WHERE passages.file = ? AND passages.number = ? AND state = 'ready'",
            file,
            number,
        )
        return Place(**dict(rows[0])) if rows else None

    def page(self, file: str, number: int) -> tuple[str, str] | None:
        """The label and the text of a page of a file."""
        rows = self._database.rows("SELECT label, text FROM pages WHERE file = ? AND number = ?", file, number)
        return (rows[0]["label"], rows[0]["text"]) if rows else None

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
