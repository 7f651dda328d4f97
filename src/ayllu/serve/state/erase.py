"""Erasing words from all that is kept: items, requests, events, and the pages of the database that held them."""

from __future__ import annotations

import contextlib
import json
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ayllu.serve.state.database import Database, Transaction
from ayllu.serve.state.items import Table, write

ERASED = "[erased]"
TABLES: tuple[Table, ...] = ("response_items", "conversation_items")
STRUCTURE = frozenset(["id", "type", "role", "status", "object", "call_id", "name", "model", "phase", "kind"])
"""What values of these names say is no content: with words erased there, the rest could not be read any more."""
SPACED = 0x0590
"""Below are the letters of alphabets whose words have spaces between them: there a part of a word is another word."""
LETTERS = "0-9A-Za-z\u00aa-\u00ba\u00c0-\u058f"
"""Those letters, and digits."""


def erase(
    database: Database, texts: Collection[str], turns: Mapping[tuple[str, str], Collection[str]] | None = None
) -> tuple[int, bool]:
    """Put `[erased]` where `texts` stand, and for all that was said and called in `turns`.

    A turn is a conversation and a message in it: all from that to the next message of the user; the message itself
    only loses the `texts`, unless its own id is asked for with a `!` before it. Later turns of that conversation were
    written with it in sight: what they say and call with one of the turn's words is erased too, the user's own
    messages aside. Gives the rows that changed, and whether nothing of them is left in the files.
    """
    wanted = [text for text in texts if text.strip()]
    with database.writing() as transaction:
        changed = sum(_turn(transaction, *turn, words) for turn, words in (turns or {}).items())
        changed += sum(_items(transaction, table, wanted) for table in TABLES)
        changed += _responses(transaction, wanted)
    return changed, database.scrub()


def pattern_of(text: str) -> re.Pattern[str]:
    """Finds a text that is not empty, within JSON too: with other white space and capitals, but in no longer word."""
    core = text.strip().rstrip(".!?\u2026") or text.strip()
    forms = dict.fromkeys((core, json.dumps(core)[1:-1], json.dumps(core, ensure_ascii=False)[1:-1]))
    spelt = "|".join(r"(?:\s|\\[nrt])+".join(map(re.escape, form.split())) for form in forms)
    before, after = (
        sign if letter.isalnum() and ord(letter) < SPACED else ""
        for letter, sign in ((core[0], f"(?<![{LETTERS}])"), (core[-1], f"(?![{LETTERS}])"))
    )
    return re.compile(f"{before}(?:{spelt}){after}", re.IGNORECASE)


def _turn(transaction: Transaction, conversation: str, message: str, words: Collection[str]) -> int:
    """Erase what followed a message, and the message too where `!` stands before its id."""
    whole, name = message.startswith("!"), message.removeprefix("!")
    rows = transaction.rows(
        "SELECT place, id, body FROM conversation_items WHERE parent = ? ORDER BY place", [conversation]
    )
    changed, inside, behind = 0, False, False
    for place, found, text in rows:
        body = json.loads(text)
        asked = body.get("type") == "message" and body.get("role") == "user"
        if asked:
            behind, inside = behind or inside, found == name
        own = inside and (whole or not asked)
        if own or (behind and not asked and _tells(body, words)):
            emptied = _emptied(body)
            changed += emptied != body
            transaction.execute(
                "UPDATE conversation_items SET body = ? WHERE parent = ? AND place = ?",
                [write(emptied), conversation, place],
            )
    return changed


def _tells(body: Mapping[str, Any], words: Collection[str]) -> bool:
    """Whether one of `words` stands in what an item says."""
    said = " ".join(_texts(body)).casefold()
    found = set(re.findall(r"[^\W_]+", said))
    return any(
        {word, f"{word}s"} & found or (ord(word[0]) >= SPACED and word in said) for word in map(str.casefold, words)
    )


def _texts(value: Any, name: str = "") -> Iterator[str]:
    """All texts in a value, those in JSON within texts too."""
    if isinstance(value, str):
        yield value
        if name == "arguments":
            with contextlib.suppress(ValueError, RecursionError):
                yield from _texts(json.loads(value))
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _texts(entry, key)
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry)


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
    patterns = [pattern_of(text) for text in texts]

    def less(value: Any) -> Any:
        if isinstance(value, str):
            for pattern in patterns:
                value = pattern.sub(ERASED, value)
            return value
        if isinstance(value, list):
            return [less(entry) for entry in value]
        if isinstance(value, dict):
            item = not value.keys().isdisjoint(("type", "object", "role"))
            return {key: entry if item and key in STRUCTURE else less(entry) for key, entry in value.items()}
        return value

    return less(value)


def _holds(value: Any, text: str) -> bool:
    """Whether a stream of events holds a text, in one event or in the pieces of several."""
    if _without(value, [text]) != value:
        return True
    told = "".join(event.get("delta", "") for event in value if isinstance(event.get("delta"), str))
    return pattern_of(text).search(told) is not None


def _emptied(item: dict[str, Any]) -> dict[str, Any]:
    """An item without its words; its place in the conversation stays."""
    if item["type"] == "message":
        return {**item, "content": [{**part, "text": ERASED} for part in item["content"]]}
    if item["type"] == "function_call":
        return {**item, "arguments": "{}"}
    if item["type"] == "function_call_output":
        return {**item, "output": ERASED}
    return item
