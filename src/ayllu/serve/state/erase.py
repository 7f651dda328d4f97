"""Erasing words from all that is kept: items, requests, events, and the pages of the database that held them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection
from typing import Any

from ayllu.serve.state.database import Database, Transaction
from ayllu.serve.state.items import Table, write

ERASED = "[erased]"
TABLES: tuple[Table, ...] = ("response_items", "conversation_items")


def erase(database: Database, texts: Collection[str], turns: Collection[tuple[str, str]] = ()) -> tuple[int, bool]:
    """Put `[erased]` where `texts` stand, and for all that was said and called in `turns`.

    A turn is a conversation and a message in it: all from that to the next message of the user; the message itself
    only loses the `texts`, unless its own id is asked for with a `!` before it. Gives the rows that changed, and
    whether nothing of them is left in the files.
    """
    wanted = [text for text in texts if text.strip()]
    with database.writing() as transaction:
        changed = sum(_turn(transaction, *turn) for turn in turns)
        changed += sum(_items(transaction, table, wanted) for table in TABLES)
        changed += _responses(transaction, wanted)
    return changed, database.scrub()


def _turn(transaction: Transaction, conversation: str, message: str) -> int:
    """Erase what followed a message, and the message too where `!` stands before its id."""
    whole, name = message.startswith("!"), message.removeprefix("!")
    rows = transaction.rows(
        "SELECT place, id, body FROM conversation_items WHERE parent = ? ORDER BY place", [conversation]
    )
    changed, inside = 0, False
    for place, found, text in rows:
        body = json.loads(text)
        asked = body.get("type") == "message" and body.get("role") == "user"
        if asked:
            inside = found == name
        if inside and (whole or not asked):
            transaction.execute(
                "UPDATE conversation_items SET body = ? WHERE parent = ? AND place = ?",
                [write(_emptied(body)), conversation, place],
            )
            changed += 1
    return changed


def _items(transaction: Transaction, table: Table, texts: Collection[str]) -> int:
    changed = 0
    for parent, place, name, text in transaction.rows(f"SELECT parent, place, id, body FROM {table}"):
        body = json.loads(text)
        less = _without(body, texts)
        if less != body:
            transaction.execute(
                f"UPDATE {table} SET body = ? WHERE parent = ? AND place = ? AND id = ?",
                [write(less), parent, place, name],
            )
            changed += 1
    return changed


def _responses(transaction: Transaction, texts: Collection[str]) -> int:
    """Requests, resources and events; kept events that hold a text are dropped whole."""
    changed = 0
    for name, request, body, events in transaction.rows("SELECT id, request, body, events FROM responses"):
        before = (json.loads(request), json.loads(body))
        after = tuple(_without(value, texts) for value in before)
        held = events is not None and any(_holds(json.loads(zlib.decompress(bytes(events))), text) for text in texts)
        if after != before or held:
            transaction.execute(
                "UPDATE responses SET request = ?, body = ?, events = ? WHERE id = ?",
                [write(after[0]), write(after[1]), None if held else events, name],
            )
            changed += 1
    return changed


def _without(value: Any, texts: Collection[str]) -> Any:
    """`value` with `[erased]` where one of `texts` stands, in JSON within texts too."""
    if isinstance(value, str):
        for text in texts:
            for form in {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}:
                value = value.replace(form, ERASED)
        return value
    if isinstance(value, list):
        return [_without(entry, texts) for entry in value]
    return {key: _without(entry, texts) for key, entry in value.items()} if isinstance(value, dict) else value


def _holds(value: Any, text: str) -> bool:
    """Whether a stream of events holds a text, in one event or in the pieces of several."""
    if _without(value, [text]) != value:
        return True
    return text in "".join(event.get("delta", "") for event in value if isinstance(event.get("delta"), str))


def _emptied(item: dict[str, Any]) -> dict[str, Any]:
    """An item without its words; its place in the conversation stays."""
    if item["type"] == "message":
        return {**item, "content": [{**part, "text": ERASED} for part in item["content"]]}
    if item["type"] == "function_call":
        return {**item, "arguments": "{}"}
    if item["type"] == "function_call_output":
        return {**item, "output": ERASED}
    return item
