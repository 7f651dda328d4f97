"""State in PostgreSQL, which servers of several machines may share."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ayllu.serve.state.database import Row, StateUnavailable, Transaction

if TYPE_CHECKING:
    import psycopg

CONNECT_SECONDS = 10
SCHEMA_LOCK = 0x61796C6C75
"""Number of the advisory lock under which the schema is changed: "ayllu"."""


class PostgresTransaction:
    """An open transaction; `%` never stands in our statements."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        return self._connection.execute(statement.replace("?", "%s").encode(), values).rowcount

    def execute_all(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(statement.replace("?", "%s").encode(), rows)

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(statement.replace("?", "%s").encode(), values).fetchall()


class PostgresDatabase:
    """A database by its URL, with a connection for each thread, made again when the server has ended it."""

    blob = "BYTEA"

    def __init__(self, url: str) -> None:
        """Raises StateUnavailable when the server is not there or lets nobody in."""
        self._url = url
        parts = urlsplit(url)
        self.place = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
        self._local = threading.local()
        self._all: list[psycopg.Connection[Any]] = []
        self._lock = threading.Lock()
        self._connection()

    @contextmanager
    def reading(self) -> Generator[Transaction]:
        yield from self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    @contextmanager
    def writing(self) -> Generator[Transaction]:
        yield from self._transaction("BEGIN")

    def lock_schema(self, transaction: Transaction) -> None:
        transaction.rows("SELECT pg_advisory_xact_lock(?)", [SCHEMA_LOCK])

    def scrub(self) -> bool:
        """Its log of writes, and what was copied from that, are the server's to keep and to delete."""
        import psycopg

        try:
            self._connection().execute(b"VACUUM FULL")
        except psycopg.errors.InsufficientPrivilege:
            return False
        except psycopg.Error as error:
            raise StateUnavailable(_reason(error)) from None
        return True

    def close(self) -> None:
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()

    def _transaction(self, begin: str) -> Generator[Transaction]:
        import psycopg

        try:
            connection = self._begun(begin)
            try:
                yield PostgresTransaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                if not connection.closed:
                    connection.execute("ROLLBACK")
                raise
        except psycopg.Error as error:
            raise StateUnavailable(_reason(error)) from None

    def _begun(self, begin: str) -> psycopg.Connection[Any]:
        """A connection in a new transaction; nothing was asked of one that turns out to be dead, so another is made."""
        import psycopg

        connection = self._connection()
        try:
            connection.execute(begin.encode())
        except psycopg.OperationalError:
            connection.close()
            with self._lock:
                self._all.remove(connection)
            connection = self._connection()
            connection.execute(begin.encode())
        return connection

    def _connection(self) -> psycopg.Connection[Any]:
        import psycopg

        connection: psycopg.Connection[Any] | None = getattr(self._local, "connection", None)
        if connection is not None and not connection.closed:
            return connection
        try:
            connection = psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_SECONDS)
        except psycopg.Error as error:
            raise StateUnavailable(_reason(error)) from None
        # An answer that was told of is on disk, whatever the server's own settings say.
        connection.execute("SET synchronous_commit = on")
        self._local.connection = connection
        with self._lock:
            self._all.append(connection)
        return connection


def _reason(error: psycopg.Error) -> str:
    """What went wrong, without the values that PostgreSQL's own details repeat."""
    words = error.diag.message_primary or str(error).partition("\n")[0]
    return f"{words} ({error.sqlstate})" if error.sqlstate else words
