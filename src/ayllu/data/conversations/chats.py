"""Conversations and preferences of your own: read whole, and every mistake named by its line.

Conversations in the forms of `ayllu.data.conversations.rows`; preferences as

    {"prompt": "…" or [messages], "chosen": "…" or [message], "rejected": "…" or [message]}

A file has one JSON object a line, or is one JSON list of them, also compressed; or it is parquet with these columns.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ayllu.data.conversations.own_files import json_lines
from ayllu.data.conversations.rows import (
    BESIDE,
    Chat,
    check_answers,
    read_chat,
    read_tools,
    read_turns,
    refuse_beside,
    strict_json,
    system_turns,
)
from ayllu.lab.error import UserError
from ayllu.lab.store import write_atomically
from ayllu.lab.visible import visible
from ayllu.text.chat import Message
from ayllu.text.tool_calls import Tool

SHOWN = 5
"""Mistakes that are named one by one."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Two answers to one conversation."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    tools: tuple[Tool, ...] = ()


def read_chats(
    path: Path,
    *,
    longest: int,
    length: Callable[[Chat], int],
    shown: str | None = None,
    unread: Counter[str] | None = None,
) -> list[Chat]:
    """All conversations of a file; `length` counts the ids of one, of which there may be `longest`.

    `shown` is what the file is called where it is a copy; `unread` counts the fields that were not read, by name.
    Raises UserError that names the lines with an empty turn, an unknown role, no words of the assistant, something
    that cannot be learnt, or too many ids, before anything is trained.
    """
    left: Counter[str] = Counter() if unread is None else unread

    def read(row: dict[str, Any]) -> Chat:
        chat = read_chat(row, left)
        _fits(length(chat), longest)
        return chat

    return _read(path, read, shown)


def read_preferences(
    path: Path,
    *,
    longest: int,
    length: Callable[[Chat], int],
    shown: str | None = None,
    unread: Counter[str] | None = None,
) -> list[Preference]:
    """All preferences of a file. Raises UserError as `read_chats` does, and for a side that is missing or equal."""
    left: Counter[str] = Counter() if unread is None else unread

    def read(row: dict[str, Any]) -> Preference:
        refuse_beside(row, ("chosen", "rejected"))
        left.update(name for name in row if name not in ("prompt", "chosen", "rejected", "tools", "system", *BESIDE))
        prompt, tools = row.get("prompt"), read_tools(row.get("tools"))
        asked = [Message(role="user", content=prompt)] if isinstance(prompt, str) and prompt.strip() else None
        if asked is None and (not isinstance(prompt, list) or not prompt):
            raise ValueError("'prompt' is missing or empty")
        told = read_turns(system_turns(row), left)[0]
        messages = [*told, *(asked or read_turns(prompt or [], left)[0])]
        check_answers(messages)
        if messages[-1].role == "assistant":
            raise ValueError("the prompt ends with the assistant's own turn")
        sides = {}
        for side in ("chosen", "rejected"):
            sides[side] = _side(row.get(side), side, left)
            answered = Chat([*messages, Message(role="assistant", content=sides[side])], tools=tools)
            _fits(length(answered), longest)
        if sides["chosen"].strip() == sides["rejected"].strip():
            raise ValueError("both sides are the same")
        return Preference(prompt=tuple(messages), tools=tuple(tools), **sides)

    return _read(path, read, shown)


def _side(value: Any, side: str, left: Counter[str]) -> str:
    """The words of an answer, which may be a list of one message."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        messages, unlearnt = read_turns(value, left)
        if messages[0].role != "assistant" or messages[0].tool_calls or unlearnt:
            raise ValueError(f"the side {side!r} is no turn of the assistant with words alone")
        value = messages[0].content
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"the side {side!r} is missing or empty")
    return value


def store_copy(path: Path, cache: Path, *, called: Path | None = None) -> str:
    """Copy a file, as JSON lines, into the cache under the digest of its content, which is returned.

    What a run learnt from can change or move afterwards without changing what the run is. What it was `called`, if not
    `path`, is kept beside it.
    """
    content = json_lines(path, str(called or path))
    digest = hashlib.sha256(content.encode()).hexdigest()
    stored_copy(digest, cache).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(stored_copy(digest, cache), content)
    # A name may hold bytes that are no text, and what a terminal would obey: it goes into messages and onto pages.
    write_atomically(_name_file(digest, cache), visible(str(called or path)))
    return digest


def stored_copy(digest: str, cache: Path) -> Path:
    """Where `store_copy` put the file."""
    return cache / "own" / f"{digest}.jsonl"


def name_of_copy(digest: str, cache: Path) -> str:
    """What the user called the file that `store_copy` copied."""
    file = _name_file(digest, cache)
    return file.read_text(encoding="utf-8") if file.is_file() else stored_copy(digest, cache).name


def _name_file(digest: str, cache: Path) -> Path:
    return cache / "own" / f"{digest}.name"


def _fits(found: int, longest: int) -> None:
    if found > longest:
        raise ValueError(f"it has {found:,} tokens, {longest:,} are allowed")


def _read(path: Path, read: Callable[[dict[str, Any]], T], shown: str | None) -> list[T]:
    shown = shown or str(path)
    found, mistakes = [], []
    for place, row in _rows(path, shown):
        try:
            if isinstance(row, ValueError):
                raise ValueError(f"it is no JSON ({row})")
            if not isinstance(row, dict):
                raise ValueError("it is no JSON object")
            found.append(read(row))
        except ValueError as error:
            mistakes.append(f"{place}: {error}")
    if mistakes:
        more = f"; and {len(mistakes) - SHOWN} more" if len(mistakes) > SHOWN else ""
        told = visible(f"{shown} cannot be used: {'; '.join(mistakes[:SHOWN])}{more}: ")
        raise UserError(f"{told}correct or remove these {mistakes[0].split()[0]}s")
    if not found:
        raise UserError(f"{shown} is empty: give a file with one JSON object a line")
    return found


def _rows(path: Path, shown: str) -> Iterator[tuple[str, Any]]:
    """Where each row stands, and what it says or the error that it is."""
    text = json_lines(path, shown)
    if text.lstrip().startswith("["):
        try:
            rows = strict_json(text)
        except ValueError:
            rows = None  # Perhaps its lines are lists, which are named one by one.
        if isinstance(rows, list) and any(isinstance(row, dict) for row in rows):
            yield from ((f"item {number}", row) for number, row in enumerate(rows, start=1))
            return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row: Any = strict_json(line)
            except ValueError as error:
                row = error
            yield f"line {number}", row
