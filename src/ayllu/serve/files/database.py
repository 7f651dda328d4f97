"""SQLite as the server keeps things in it: owner-only, durable at each commit, one connection behind a lock."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTINGS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "busy_timeout = 30000",
    "secure_delete = ON",  # what is deleted is overwritten, not only forgotten
)


class NewerSchema(Exception):
    """The file was written by a newer Ayllu."""


class Database:
    """A file of SQLite, made where it is not there; a commit that has returned survives the loss of power.

    `schema` are scripts, the n-th of which brings a file of version n to version n + 1. Raises OSError or sqlite3.Error
    where the file cannot be had, and NewerSchema.
    """

    def __init__(self, path: Path, schema: tuple[str, ...]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite gives the files that it makes beside this one the same rights.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        self._connection.row_factory = sqlite3.Row
        for setting in SETTINGS:
            self._connection.execute(f"PRAGMA {setting}")
        with self.writing() as cursor:
            (version,) = cursor.execute("PRAGMA user_version").fetchone()
            if version > len(schema):
                raise NewerSchema(f"{path} was written by a newer Ayllu; update this one")
            for number, script in enumerate(schema[version:], start=version + 1):
                for statement in filter(str.strip, script.split(";\n")):
                    cursor.execute(statement)
                cursor.execute(f"PRAGMA user_version = {number}")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Cursor]:
        """A transaction that is alone in writing: all of it, or nothing where something is raised."""
        with self._lock:
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    @property
    def changes(self) -> int:
        """Rows that were changed since the file was opened."""
        return self._connection.total_changes

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """What a query finds."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def settle(self) -> None:
        """Empty the log beside the file, which holds pages as they were: nothing that was deleted is left in it."""
        self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def shrink(self) -> None:
        """Give back the room of what was deleted, which is overwritten already."""
        self.rows("VACUUM")
        self.settle()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()
