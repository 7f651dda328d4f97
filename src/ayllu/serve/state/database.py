"""What both databases do for the store: transactions that are on disk when they end, with one dialect of SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Row = Sequence[Any]


class StateUnavailable(Exception):
    """The database does not answer, or cannot be written; the message names no data."""


class StateReadOnly(StateUnavailable):
    """The database lies where nothing can be written."""


class Transaction(Protocol):
    """An open transaction; statements have `?` where values go."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; gives the number of rows that it changed."""
        ...

    def execute_all(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each of `rows`."""
        ...

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query."""
        ...


class Database(Protocol):
    """A database that several threads and several servers may use at a time."""

    place: str
    """Where it is, without a password: for sentences to users."""
    blob: str
    """The name of its type for bytes."""

    def reading(self) -> AbstractContextManager[Transaction]:
        """A transaction that sees one state of the data."""
        ...

    def writing(self) -> AbstractContextManager[Transaction]:
        """A transaction that is on disk when it ends, or undone where an error ends it.

        Raises StateUnavailable where the database does not do what it should.
        """
        ...

    def lock_schema(self, transaction: Transaction) -> None:
        """Let no other server change the schema until `transaction` ends."""
        ...

    def scrub(self) -> bool:
        """Write the data anew: nothing of what was deleted is left in its files. False where others hinder it."""
        ...

    def close(self) -> None:
        """End all connections."""
        ...
