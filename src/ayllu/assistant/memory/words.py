"""The words of traces: a trace holds a salted digest of each, and the words lie here, where erasing reaches them."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.serve.state.database import Database, Transaction
from ayllu.serve.state.erase import pattern_of

FILE = "assistant/memory.sqlite"
Turns = dict[tuple[str, str], frozenset[str]]
"""Conversations and messages as `ayllu.serve.state.erase` takes them, with the words that later turns may repeat."""
PLAIN = frozenset(
    [
        *("kind", "version", "model", "task", "sealed", "conversation", "approved", "tools", "memories"),
        *("type", "id", "role", "status", "call", "call_id", "name", "reason", "untrusted"),
    ]
)
"""Fields of a trace that are no content of a conversation."""
WHOLE = frozenset(["arguments", "citations", "origins"])
"""Fields in which names and numbers are content too."""
TEXT, JSON = "words", "json"
"""The name beside the digest of a text, and of a value that is not one."""
SCHEMA = (
    """CREATE TABLE IF NOT EXISTS traced (
         digest TEXT PRIMARY KEY, salt TEXT NOT NULL, text TEXT NOT NULL, conversation TEXT NOT NULL,
         message TEXT NOT NULL)""",
)


def sealed(value: Any, digest_of: Callable[[str], str], name: str = "") -> Any:
    """`value` with a digest for each text that is content; `name` is that of its field."""
    if name in PLAIN:
        return value
    if name in WHOLE and not isinstance(value, str):
        return {JSON: digest_of(json.dumps(value, ensure_ascii=False))} if value else value
    if isinstance(value, str):
        return {TEXT: digest_of(value)} if value else value
    if isinstance(value, Mapping):
        return {key: sealed(entry, digest_of, key) for key, entry in value.items()}
    return [sealed(entry, digest_of) for entry in value] if isinstance(value, list | tuple) else value


def opened(value: Any, text_of: Callable[[str], str], name: str = "") -> Any:
    """What was sealed."""
    if name in PLAIN:
        return value
    if isinstance(value, Mapping):
        if len(value) == 1 and isinstance(value.get(TEXT), str):
            return text_of(value[TEXT])
        if len(value) == 1 and isinstance(value.get(JSON), str):
            return json.loads(text_of(value[JSON]))
        return {key: opened(entry, text_of, key) for key, entry in value.items()}
    return [opened(entry, text_of) for entry in value] if isinstance(value, list) else value


def keep(database: Database, texts: Iterable[str], turn: tuple[str, str]) -> dict[str, str]:
    """Keep texts of a turn's trace; gives their digests, which say nothing without the salts that lie here."""
    salts = {text: secrets.token_hex(16) for text in texts}
    found = {text: _digest(salt, text) for text, salt in salts.items()}
    with database.writing() as transaction:
        transaction.execute_all(
            "INSERT INTO traced (digest, salt, text, conversation, message) VALUES (?, ?, ?, ?, ?)",
            [(found[text], salt, text, *turn) for text, salt in salts.items()],
        )
    return found


def forget(transaction: Transaction, texts: Collection[str], conversations: Collection[str]) -> int:
    """Erase the words of traces of `conversations`, and of those that hold one of `texts`; gives how many texts."""
    patterns = [pattern_of(text) for text in texts if text.strip()]
    rows = transaction.rows("SELECT digest, text, conversation, message FROM traced")
    turns = {
        tuple(row[2:])
        for row in rows
        if row[2] in conversations or any(pattern.search(str(row[1])) for pattern in patterns)
    }
    gone = [[row[0]] for row in rows if tuple(row[2:]) in turns]
    transaction.execute_all("DELETE FROM traced WHERE digest = ?", gone)
    return len(gone)


def words_in(home: Path, conversation: str) -> tuple[dict[str, str], bool]:
    """By their digests the texts that a home keeps of a conversation's traces, and whether it remembers any of them.

    UserError where that home cannot be read.
    """
    place = home / FILE
    if not place.is_file():
        raise UserError(f"its words lie in {place}, which is not there")
    try:
        with closing(sqlite3.connect(f"{place.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            of = "WHERE conversation = ?"
            rows = connection.execute(f"SELECT digest, salt, text FROM traced {of}", [conversation]).fetchall()
            held = [
                connection.execute(f"SELECT 1 FROM {table} {of} LIMIT 1", [conversation]).fetchone()
                for table in ("memories", "uses")
            ]
            remembered = [pattern_of(row[0]) for row in connection.execute("SELECT text FROM memories")]
    except sqlite3.Error as error:
        raise UserError(f"its words lie in {place}, which cannot be read ({error})") from None
    found = {row[0]: row[2] for row in rows if _digest(row[1], row[2]) == row[0]}
    told = any(pattern.search(text) for pattern in remembered for text in found.values())
    return found, told or any(held)


def _digest(salt: str, text: str) -> str:
    return hashlib.sha256(f"{salt}{text}".encode("utf-8", "surrogatepass")).hexdigest()
