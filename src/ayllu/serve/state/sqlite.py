"""State in a file of SQLite, which several processes of one machine may share."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ayllu.serve.state.database import Row, StateReadOnly, StateUnavailable, Transaction

WAIT_SECONDS = 20.0
"""How long a writer waits for another."""


class SqliteTransaction:
    """An open transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        return self._connection.execute(statement, values).rowcount

    def execute_all(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self._connection.executemany(statement, rows)

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(statement, values).fetchall()


class SqliteDatabase:
    """A file that only its owner may read, with a connection for each thread.

    A transaction is on disk when it ends: the log is written ahead (WAL) and synchronised at each end (FULL).
    """

    blob = "BLOB"

    def __init__(self, path: Path) -> None:
        """Raises StateUnavailable when the file cannot be made or opened."""
        self._path, self.place = path, str(path)
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite gives the files beside it (-wal, -shm) the rights of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            path.chmod(0o600)
        except OSError as error:
            kind = StateReadOnly if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) else StateUnavailable
            raise kind(error.strerror or type(error).__name__) from None
        self._connection()

    @contextmanager
    def reading(self) -> Generator[Transaction]:
        yield from self._transaction("BEGIN")

    @contextmanager
    def writing(self) -> Generator[Transaction]:
        yield from self._transaction("BEGIN IMMEDIATE")

    def lock_schema(self, transaction: Transaction) -> None:
        """A transaction that writes is alone already."""

    def scrub(self) -> bool:
        try:
            connection = self._connection()
            # A copy in a temporary file would be one more place to delete it from.
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("VACUUM")
            # What was deleted is in the log too, until that is empty: not while somebody else reads the old state.
            return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError:
            return False
        except sqlite3.Error as error:
            raise StateUnavailable(_reason(error)) from None

    def close(self) -> None:
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()

    def _transaction(self, begin: str) -> Generator[Transaction]:
        try:
            connection = self._connection()
            connection.execute(begin)
            try:
                yield SqliteTransaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StateUnavailable(_reason(error)) from None

    def _connection(self) -> sqlite3.Connection:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            return connection
        try:
            connection = sqlite3.connect(
                self._path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten, not only forgotten
        except sqlite3.Error as error:
            raise StateUnavailable(_reason(error)) from None
        self._local.connection = connection
        with self._lock:
            self._all.append(connection)
        return connection


def _reason(error: sqlite3.Error) -> str:
    """SQLite's own words, which name no value of a row."""
    return str(error)
