"""Items of responses and conversations: what was said and called, one row each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ayllu.serve.state.database import Transaction

Item = dict[str, Any]
"""An item as the API gives it, with its `id`."""
Table = Literal["response_items", "conversation_items"]


class Missing(Exception):
    """There is nothing of the name that the error holds."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Which part of a list is wanted."""

    limit: int = 20
    after: str | None = None
    """The id of the item before the part."""
    newest_first: bool = True


def write(value: Any) -> str:
    """JSON as it is kept: ASCII, since PostgreSQL's text has no place for the character 0."""
    return json.dumps(value, separators=(",", ":"))


def insert_items(
    transaction: Transaction,
    table: Table,
    parent: str,
    items: Sequence[Item],
    *,
    output: int | None = None,
    first: int = 0,
) -> None:
    """Add items to a response or conversation, their parent, from the place `first` on."""
    columns, more = ("", []) if output is None else ("output, ", [output])
    marks = "?, ?, ?, ?" if output is None else "?, ?, ?, ?, ?"
    transaction.execute_all(
        f"INSERT INTO {table} ({columns}parent, place, id, body) VALUES ({marks})",
        [(*more, parent, first + number, item["id"], write(item)) for number, item in enumerate(items)],
    )


def items_of(
    transaction: Transaction, table: Table, parent: str, *, output: int | None = None, until: int | None = None
) -> list[Item]:
    """All items of a parent in their order, up to the place `until`."""
    condition, values = _of(parent, output)
    if until is not None:
        condition, values = f"{condition} AND place <= ?", [*values, until]
    rows = transaction.rows(f"SELECT body FROM {table} WHERE {condition} ORDER BY place", values)
    return [json.loads(row[0]) for row in rows]


def page_of(
    transaction: Transaction, table: Table, parent: str, page: Page, *, output: int | None = None
) -> tuple[list[Item], bool]:
    """A part of a parent's items, and whether there are more behind it; Missing where `page.after` is not there."""
    condition, values = _of(parent, output)
    if page.after is not None:
        rows = transaction.rows(f"SELECT place FROM {table} WHERE {condition} AND id = ?", [*values, page.after])
        if not rows:
            raise Missing(page.after)
        condition += f" AND place {'<' if page.newest_first else '>'} ?"
        values = [*values, rows[0][0]]
    order = "DESC" if page.newest_first else "ASC"
    found = transaction.rows(
        f"SELECT body FROM {table} WHERE {condition} ORDER BY place {order} LIMIT ?", [*values, page.limit + 1]
    )
    return [json.loads(row[0]) for row in found[: page.limit]], len(found) > page.limit


def _of(parent: str, output: int | None) -> tuple[str, list[Any]]:
    if output is None:
        return "parent = ?", [parent]
    return "parent = ? AND output = ?", [parent, output]
