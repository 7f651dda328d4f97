"""Which vector stores there are, and which files are in them; what is in the files is in an index of each store."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ayllu.serve.files.database import Database

Status = Literal["in_progress", "completed", "cancelled", "failed"]
SCHEMA = (
    """CREATE TABLE stores (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, name TEXT NOT NULL,
        description TEXT, metadata TEXT NOT NULL, embedder TEXT NOT NULL, fingerprint TEXT NOT NULL,
        dimensions INTEGER NOT NULL,
        created_at INTEGER NOT NULL, last_active_at INTEGER NOT NULL, expires_days INTEGER
    );
    CREATE TABLE batches (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, store TEXT NOT NULL,
        created_at INTEGER NOT NULL, cancelled INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE store_files (
        number INTEGER PRIMARY KEY AUTOINCREMENT, store TEXT NOT NULL, id TEXT NOT NULL, filename TEXT NOT NULL,
        created_at INTEGER NOT NULL, status TEXT NOT NULL, attributes TEXT NOT NULL, size INTEGER NOT NULL,
        overlap INTEGER NOT NULL, error TEXT, usage_bytes INTEGER NOT NULL DEFAULT 0, batch TEXT, UNIQUE (store, id)
    );
    CREATE INDEX store_files_by_status ON store_files (status, number);
    CREATE INDEX store_files_by_batch ON store_files (batch)""",
    """CREATE TABLE gone (
        place INTEGER PRIMARY KEY AUTOINCREMENT, list TEXT NOT NULL, id TEXT NOT NULL, number INTEGER NOT NULL
    );
    CREATE INDEX gone_of_list ON gone (list, id);
    CREATE INDEX stores_of ON stores (owner, number)""",
    """CREATE TABLE removed (store TEXT NOT NULL, file TEXT NOT NULL, PRIMARY KEY (store, file))""",
)
MOST_GONE = 10_000
"""Of what was deleted so many places in lists are known: a client that deletes what it lists goes on behind them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorStore:
    """A vector store."""

    id: str
    name: str
    description: str | None
    metadata: dict[str, str]
    embedder: str
    fingerprint: str
    """By which its passages were embedded; another one's vectors say nothing beside them."""
    dimensions: int
    created_at: int
    last_active_at: int
    expires_days: int | None

    @property
    def expires_at(self) -> int | None:
        """Seconds since 1970."""
        return None if self.expires_days is None else self.last_active_at + self.expires_days * 86_400

    @property
    def expired(self) -> bool:
        """Whether it may not be used any more."""
        return self.expires_at is not None and self.expires_at <= time.time()


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreFile:
    """A file in a vector store."""

    store: str
    id: str
    filename: str
    created_at: int
    status: Status
    attributes: dict[str, Any]
    size: int
    """Tokens of a chunk, and of what it has in common with the next."""
    overlap: int
    error: dict[str, str] | None = None
    usage_bytes: int = 0
    batch: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NewFile:
    """A file that is put into a store."""

    id: str
    filename: str
    attributes: Mapping[str, Any]
    size: int
    overlap: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """Which part of a list is wanted, and in which order it is read."""

    limit: int
    oldest_first: bool = False
    after: str | None = None
    before: str | None = None


class Catalogue:
    """The lists, in a file of SQLite."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA)

    def create(
        self,
        owner: str,
        *,
        name: str,
        description: str | None,
        metadata: Mapping[str, str],
        embedder: str,
        fingerprint: str,
        dimensions: int,
        expires_days: int | None,
        files: Sequence[NewFile],
    ) -> VectorStore:
        """A new store with files that are still to be read."""
        now = int(time.time())
        made = VectorStore(
            id=f"vs_{secrets.token_hex(16)}",
            name=name,
            description=description,
            metadata=dict(metadata),
            embedder=embedder,
            fingerprint=fingerprint,
            dimensions=dimensions,
            created_at=now,
            last_active_at=now,
            expires_days=expires_days,
        )
        with self._database.writing() as cursor:
            cursor.execute(
                "INSERT INTO stores (id, owner, name, description, metadata, embedder, fingerprint, dimensions, "
                "created_at, last_active_at, expires_days) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(made.id, owner, name, description, json.dumps(made.metadata), embedder, fingerprint),
                    *(dimensions, now, now, expires_days),
                ),
            )
            self._insert(cursor, made.id, files, None)
        return made

    def find(self, store: str, owner: str) -> VectorStore | None:
        """A store of `owner`."""
        rows = self._database.rows("SELECT * FROM stores WHERE id = ? AND owner = ?", store, owner)
        return _store(rows[0]) if rows else None

    def anyones(self, store: str) -> tuple[VectorStore, str] | None:
        """A store and its owner."""
        rows = self._database.rows("SELECT * FROM stores WHERE id = ?", store)
        return (_store(rows[0]), rows[0]["owner"]) if rows else None

    def change(self, store: VectorStore, **fields: Any) -> VectorStore:
        """Change a store's name, metadata, expires_days or last_active_at."""
        values = {name: json.dumps(value) if name == "metadata" else value for name, value in fields.items()}
        with self._database.writing() as cursor:
            for name, value in values.items():
                cursor.execute(f"UPDATE stores SET {name} = ? WHERE id = ?", (value, store.id))
        return replace(store, **fields)

    def delete(self, store: str) -> None:
        """Forget a store and what is said of its files."""
        with self._database.writing() as cursor:
            cursor.execute("DELETE FROM gone WHERE list = ?", (store,))
            self._leave(cursor, "SELECT owner, id, number FROM stores WHERE id = ?", store)
            for table, column in (
                ("store_files", "store"),
                ("batches", "store"),
                ("removed", "store"),
                ("stores", "id"),
            ):
                cursor.execute(f"DELETE FROM {table} WHERE {column} = ?", (store,))
        self._database.settle()

    def add(self, store: str, files: Sequence[NewFile], *, batch: bool = False) -> str | None:
        """Put files into a store, in place of what it had of them; gives the id of the batch, where it is one."""
        name = f"vsfb_{secrets.token_hex(16)}" if batch else None
        with self._database.writing() as cursor:
            if name is not None:
                cursor.execute(
                    "INSERT INTO batches (id, store, created_at) VALUES (?, ?, ?)", (name, store, int(time.time()))
                )
            self._insert(cursor, store, files, name)
        return name

    def files(self, store: str, *, batch: str | None = None) -> list[StoreFile]:
        """The files of a store, or of a batch of it, in the order in which they came."""
        where, values = ("store = ?", [store]) if batch is None else ("store = ? AND batch = ?", [store, batch])
        rows = self._database.rows(f"SELECT * FROM store_files WHERE {where} ORDER BY number", *values)
        return [_file(row) for row in rows]

    def file(self, store: str, number: str) -> StoreFile | None:
        """A file of a store."""
        rows = self._database.rows("SELECT * FROM store_files WHERE store = ? AND id = ?", store, number)
        return _file(rows[0]) if rows else None

    def set_attributes(self, store: str, number: str, attributes: Mapping[str, Any]) -> None:
        """Give a file other attributes."""
        with self._database.writing() as cursor:
            cursor.execute(
                "UPDATE store_files SET attributes = ? WHERE store = ? AND id = ?",
                (json.dumps(dict(attributes)), store, number),
            )

    def remove(self, store: str, number: str) -> bool:
        """Take a file out of a store; whether it was there. Its words are in the index until they are wiped there."""
        with self._database.writing() as cursor:
            self._leave(cursor, "SELECT store, id, number FROM store_files WHERE store = ? AND id = ?", store, number)
            cursor.execute("INSERT OR IGNORE INTO removed VALUES (?, ?)", (store, number))
            gone = cursor.execute("DELETE FROM store_files WHERE store = ? AND id = ?", (store, number)).rowcount
        self._database.settle()
        return bool(gone)

    def next_to_wipe(self) -> tuple[str, list[str]] | None:
        """A store and the files that were taken out of it since it was wiped."""
        rows = self._database.rows("SELECT * FROM removed WHERE store = (SELECT min(store) FROM removed)")
        return (rows[0]["store"], [row["file"] for row in rows]) if rows else None

    def wiped(self, store: str, files: Sequence[str]) -> None:
        """Say that nothing is left of files that were taken out of a store."""
        with self._database.writing() as cursor:
            cursor.executemany("DELETE FROM removed WHERE store = ? AND file = ?", [(store, file) for file in files])

    def stores_with(self, number: str) -> list[str]:
        """The stores that have a file."""
        return [row["store"] for row in self._database.rows("SELECT store FROM store_files WHERE id = ?", number)]

    def next_to_read(self) -> StoreFile | None:
        """The file that has waited longest to be read."""
        rows = self._database.rows("SELECT * FROM store_files WHERE status = 'in_progress' ORDER BY number LIMIT 1")
        return _file(rows[0]) if rows else None

    def finish(
        self, file: StoreFile, status: Status, *, usage_bytes: int = 0, error: Mapping[str, str] | None = None
    ) -> bool:
        """Say how the reading of a file ended; whether somebody still waited for it."""
        with self._database.writing() as cursor:
            return bool(
                cursor.execute(
                    "UPDATE store_files SET status = ?, usage_bytes = ?, error = ? "
                    "WHERE store = ? AND id = ? AND status = 'in_progress' AND created_at = ?",
                    (status, usage_bytes, json.dumps(error) if error else None, file.store, file.id, file.created_at),
                ).rowcount
            )

    def batch(self, store: str, batch: str) -> tuple[int, bool] | None:
        """When a batch was made, and whether it was cancelled."""
        rows = self._database.rows("SELECT * FROM batches WHERE id = ? AND store = ?", batch, store)
        return (rows[0]["created_at"], bool(rows[0]["cancelled"])) if rows else None

    def cancel(self, batch: str) -> None:
        """Read no more of a batch's files."""
        with self._database.writing() as cursor:
            cursor.execute("UPDATE batches SET cancelled = 1 WHERE id = ?", (batch,))
            cursor.execute(
                "UPDATE store_files SET status = 'cancelled' WHERE batch = ? AND status = 'in_progress'", (batch,)
            )

    def stores_page(self, owner: str, cut: Cut) -> tuple[list[VectorStore], bool]:
        """Stores of `owner`, and whether there are more. KeyError names a place of `cut` that is not in the list."""
        rows, more = self._page("stores", {"owner": owner}, owner, cut)
        return [_store(row) for row in rows], more

    def files_page(
        self, store: str, cut: Cut, *, batch: str | None = None, status: Status | None = None
    ) -> tuple[list[StoreFile], bool]:
        """Files of a store, of a batch of it or in a state, as `stores_page`.

        A place of `cut` may be any file of the store: files are read, and leave a state, between one page and the next.
        """
        where = {"store": store, "batch": batch, "status": status}
        rows, more = self._page("store_files", {name: value for name, value in where.items() if value}, store, cut)
        return [_file(row) for row in rows], more

    def _page(self, table: str, where: Mapping[str, str], name: str, cut: Cut) -> tuple[list[Any], bool]:
        """Rows of a page in its order, and whether there are more behind it."""
        least, most = (cut.after, cut.before) if cut.oldest_first else (cut.before, cut.after)
        parts, values = [f"{column} = ?" for column in where], list[object](where.values())
        for sign, given in ((">", least), ("<", most)):
            if given is not None:
                parts.append(f"number {sign} ?")
                values.append(self._place(table, name, given))
        # Before something: the page that ends there, as a reader who goes back expects it.
        back = cut.before is not None and cut.after is None
        order = "ASC" if cut.oldest_first != back else "DESC"
        query = f"SELECT * FROM {table} WHERE {' AND '.join(parts)} ORDER BY number {order} LIMIT ?"
        rows = self._database.rows(query, *values, cut.limit + 1)
        shown = rows[: cut.limit]
        return shown[::-1] if back else shown, len(rows) > cut.limit

    def _place(self, table: str, name: str, number: str) -> int:
        """Where something is in a list, or was before it was deleted; KeyError where it never was."""
        column = "owner" if table == "stores" else "store"
        rows = self._database.rows(
            f"SELECT number FROM {table} WHERE {column} = ? AND id = ?", name, number
        ) or self._database.rows("SELECT number FROM gone WHERE list = ? AND id = ? ORDER BY place DESC", name, number)
        if not rows:
            raise KeyError(number)
        return int(rows[0]["number"])

    @staticmethod
    def _leave(cursor: Any, query: str, *values: str) -> None:
        """Keep the place that something has which is about to be deleted."""
        for name, number, place in cursor.execute(query, values).fetchall():
            cursor.execute("INSERT INTO gone (list, id, number) VALUES (?, ?, ?)", (name, number, place))
        cursor.execute("DELETE FROM gone WHERE place <= (SELECT max(place) FROM gone) - ?", (MOST_GONE,))

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @staticmethod
    def _insert(cursor: Any, store: str, files: Sequence[NewFile], batch: str | None) -> None:
        for file in files:
            cursor.execute("DELETE FROM store_files WHERE store = ? AND id = ?", (store, file.id))
            cursor.execute(
                "INSERT INTO store_files (store, id, filename, created_at, status, attributes, size, overlap, batch) "
                "VALUES (?, ?, ?, ?, 'in_progress', ?, ?, ?, ?)",
                (
                    *(store, file.id, file.filename, int(time.time()), json.dumps(dict(file.attributes))),
                    *(file.size, file.overlap, batch),
                ),
            )


def _store(row: Any) -> VectorStore:
    fields = {name: row[name] for name in VectorStore.__slots__}
    return VectorStore(**{**fields, "metadata": json.loads(row["metadata"])})


def _file(row: Any) -> StoreFile:
    fields = {name: row[name] for name in StoreFile.__slots__}
    error = json.loads(row["error"]) if row["error"] else None
    return StoreFile(**{**fields, "attributes": json.loads(row["attributes"]), "error": error})
