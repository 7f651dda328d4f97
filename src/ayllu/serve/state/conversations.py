"""Conversations: items that several responses share, kept until somebody deletes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ayllu.serve.state.database import Database, Transaction
from ayllu.serve.state.items import Item, Missing, Page, insert_items, items_of, page_of, write

Conversation = tuple[int, dict[str, str]]
"""When it was created, and its metadata."""


class ConversationStore:
    """The part of the store that concerns conversations; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create_conversation(
        self, name: str, created: int, metadata: dict[str, str], items: Sequence[Item], *, owner: str = ""
    ) -> None:
        """Keep a new conversation of `owner`."""
        with self._database.writing() as transaction:
            transaction.execute(
                "INSERT INTO conversations (id, owner, created, metadata) VALUES (?, ?, ?, ?)",
                [name, owner, created, write(metadata)],
            )
            insert_items(transaction, "conversation_items", name, items, first=1)

    def conversation(self, name: str, *, owner: str = "") -> Conversation | None:
        """A conversation; None where its owner has none of that name."""
        with self._database.reading() as transaction:
            rows = transaction.rows(
                "SELECT created, metadata FROM conversations WHERE id = ? AND owner = ?", [name, owner]
            )
            return (int(rows[0][0]), json.loads(rows[0][1])) if rows else None

    def describe_conversation(self, name: str, metadata: dict[str, str]) -> Conversation | None:
        """Give a conversation other metadata; None where there is none."""
        with self._database.writing() as transaction:
            transaction.execute("UPDATE conversations SET metadata = ? WHERE id = ?", [write(metadata), name])
            rows = transaction.rows("SELECT created FROM conversations WHERE id = ?", [name])
            return (int(rows[0][0]), metadata) if rows else None

    def delete_conversation(self, name: str) -> bool:
        """Forget a conversation and its items; whether it was there. Its responses stay."""
        with self._database.writing() as transaction:
            return transaction.execute("DELETE FROM conversations WHERE id = ?", [name]) > 0

    def add_items(self, name: str, items: Sequence[Item]) -> None:
        """Add items to the end of a conversation; Missing where there is none."""
        with self._database.writing() as transaction:
            if not touch(transaction, name):
                raise Missing(name)
            insert_items(transaction, "conversation_items", name, items, first=latest_place(transaction, name) + 1)

    def conversation_items(self, name: str, *, owner: str = "", until: int | None = None) -> tuple[list[Item], int]:
        """The items of a conversation up to the place `until`, and the last place; Missing where there is none."""
        with self._database.reading() as transaction:
            if not transaction.rows("SELECT 1 FROM conversations WHERE id = ? AND owner = ?", [name, owner]):
                raise Missing(name)
            items = items_of(transaction, "conversation_items", name, until=until)
            return items, latest_place(transaction, name) if until is None else until

    def conversation_page(self, name: str, page: Page) -> tuple[list[Item], bool]:
        """Some items of a conversation, and whether there are more; Missing without it or without `page.after`."""
        with self._database.reading() as transaction:
            if not transaction.rows("SELECT 1 FROM conversations WHERE id = ?", [name]):
                raise Missing(name)
            return page_of(transaction, "conversation_items", name, page)

    def conversation_item(self, name: str, item: str) -> dict[str, Any] | None:
        """One item of a conversation; None where it is not there."""
        with self._database.reading() as transaction:
            rows = transaction.rows("SELECT body FROM conversation_items WHERE parent = ? AND id = ?", [name, item])
            return dict(json.loads(rows[0][0])) if rows else None

    def delete_item(self, name: str, item: str) -> bool:
        """Take an item out of a conversation; whether it was there."""
        with self._database.writing() as transaction:
            return transaction.execute("DELETE FROM conversation_items WHERE parent = ? AND id = ?", [name, item]) > 0


def touch(transaction: Transaction, name: str) -> bool:
    """Whether a conversation is there; if so, no other transaction changes it until this one ends."""
    return transaction.execute("UPDATE conversations SET created = created WHERE id = ?", [name]) > 0


def latest_place(transaction: Transaction, name: str) -> int:
    """The place of a conversation's last item, 0 where it has none."""
    rows = transaction.rows("SELECT COALESCE(MAX(place), 0) FROM conversation_items WHERE parent = ?", [name])
    return int(rows[0][0])
