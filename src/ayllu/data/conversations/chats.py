"""Conversations and preferences of your own, in JSONL: read whole, and every mistake named by its line.

{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
{"prompt": "…" or [messages], "chosen": "…", "rejected": "…"}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ayllu.lab.error import UserError
from ayllu.lab.store import write_atomically
from ayllu.text.chat import ROLES, Message

SHOWN = 5
"""Mistakes that are named one by one."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Two answers to one conversation."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str


def read_chats(path: Path, *, longest: int, length: Callable[[list[Message]], int]) -> list[list[Message]]:
    """All conversations of a file; `length` counts the ids of one, of which there may be `longest`.

    Raises UserError that names the lines with an empty turn, an unknown role, no words of the assistant, or too many
    ids, before anything is trained.
    """

    def read(row: dict[str, Any]) -> list[Message]:
        messages = _messages(row.get("messages"), "messages")
        if not any(message.role == "assistant" for message in messages):
            raise ValueError("the assistant says nothing")
        _fits(length(messages), longest)
        return messages

    return _read(path, read)


def read_preferences(path: Path, *, longest: int, length: Callable[[list[Message]], int]) -> list[Preference]:
    """All preferences of a file. Raises UserError as `read_chats` does, and for a side that is missing or equal."""

    def read(row: dict[str, Any]) -> Preference:
        prompt = row.get("prompt")
        asked = [Message(role="user", content=prompt)] if isinstance(prompt, str) and prompt.strip() else None
        messages = asked or _messages(prompt, "prompt")
        if messages[-1].role == "assistant":
            raise ValueError("the prompt ends with the assistant's own turn")
        for side in ("chosen", "rejected"):
            if not isinstance(row.get(side), str) or not row[side].strip():
                raise ValueError(f"the side {side!r} is missing or empty")
            _fits(length([*messages, Message(role="assistant", content=row[side])]), longest)
        if row["chosen"].strip() == row["rejected"].strip():
            raise ValueError("both sides are the same")
        return Preference(prompt=tuple(messages), chosen=row["chosen"], rejected=row["rejected"])

    return _read(path, read)


def store_copy(path: Path, cache: Path) -> str:
    """Copy a file into the cache under the digest of its content, which is returned: what a run learnt from can change
    or move afterwards without changing what the run is."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    stored_copy(digest, cache).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(stored_copy(digest, cache), content.decode())
    return digest


def stored_copy(digest: str, cache: Path) -> Path:
    """Where `store_copy` put the file."""
    return cache / "own" / f"{digest}.jsonl"


def _messages(value: Any, field: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{field!r} is missing or empty")
    messages = []
    for number, turn in enumerate(value, start=1):
        if not isinstance(turn, dict) or turn.get("role") not in ROLES:
            role = turn.get("role") if isinstance(turn, dict) else turn
            raise ValueError(f"turn {number} has the unknown role {role!r}")
        if not isinstance(turn.get("content"), str) or not turn["content"].strip():
            raise ValueError(f"turn {number} is empty")
        messages.append(Message(role=turn["role"], content=turn["content"]))
    return messages


def _fits(found: int, longest: int) -> None:
    if found > longest:
        raise ValueError(f"it has {found:,} tokens, {longest:,} are allowed")


def _read(path: Path, read: Callable[[dict[str, Any]], T]) -> list[T]:
    found, mistakes = [], []
    for number, line in _lines(path):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("it is no JSON object")
            found.append(read(row))
        except json.JSONDecodeError as error:
            mistakes.append(f"line {number}: it is no JSON ({error.msg})")
        except ValueError as error:
            mistakes.append(f"line {number}: {error}")
    if mistakes:
        more = f"; and {len(mistakes) - SHOWN} more" if len(mistakes) > SHOWN else ""
        raise UserError(f"{path} cannot be used: {'; '.join(mistakes[:SHOWN])}{more}: correct or remove these lines")
    if not found:
        raise UserError(f"{path} is empty: give a file with one JSON object a line")
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error}): convert it first") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give a JSONL file") from error
