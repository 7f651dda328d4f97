"""The ledger: what a sensor gave, why, and where it went. Each line holds the digest of the one before.

A line keeps the digest of its salted content beside the content, and the chain runs over the digests. Erasing takes
content and salt away and leaves the digest, so that the chain still holds and says nothing of what was erased.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayllu.lab.chain import Chain
from ayllu.lab.store import storage_told


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line; `content` is None where it was erased."""

    number: int
    content: dict[str, Any] | None
    digest: str
    chain: str


class Ledger:
    """The ledger of a home; several processes may write to it."""

    def __init__(self, home: Path) -> None:
        self.path = home / "glasses" / "ledger.jsonl"
        self._chain = Chain(path=self.path, check=_entry, digest=_linked, mode=0o600)

    def note(self, **content: Any) -> None:
        """Write a line, which is on disk when this returns. Raises UserError where it cannot be."""
        with storage_told(self.path.parent, "the ledger of the glasses"):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._chain.held() as held:
                held.append(_line({"time": round(time.time(), 3), **content}, held.last()))

    def entries(self) -> list[Entry]:
        """All lines, checked. Raises UserError at the first that was changed, left out or put elsewhere."""
        return self._chain.read()

    def erase(self, chosen: Callable[[dict[str, Any]], bool]) -> int:
        """Take the content of lines away, and write that it was done; gives how many."""
        count = 0

        def erased(fields: dict[str, Any]) -> dict[str, Any]:
            nonlocal count
            if fields.get("content") is None or not chosen(fields["content"]):
                return fields
            count += 1
            return {"digest": fields["digest"], "chain": fields["chain"]}

        if not self.entries():
            return 0
        with storage_told(self.path.parent, "the ledger of the glasses"), self._chain.held() as held:
            held.rewrite(erased)
        if count:
            self.note(what="erased", lines=count)
        return count


def _entry(fields: Any, before: str, number: int) -> Entry:
    digest, chain, content = _linked(fields, "digest"), _linked(fields), fields.get("content")
    if _chain(before, digest) != chain:
        raise ValueError("it does not follow the line before")
    if content is not None and _digest(content, str(fields.get("salt"))) != digest:
        raise ValueError("its content was changed")
    return Entry(number=number, content=content, digest=digest, chain=chain)


def _linked(fields: Any, name: str = "chain") -> str:
    if not isinstance(fields, dict) or not isinstance(fields.get(name), str):
        raise TypeError("it is no line of a ledger")
    return str(fields[name])


def _line(content: dict[str, Any], last: str) -> dict[str, Any]:
    salt = secrets.token_hex(16)
    digest = _digest(content, salt)
    return {"content": content, "salt": salt, "digest": digest, "chain": _chain(last, digest)}


def _digest(content: Any, salt: str) -> str:
    text = json.dumps(content, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(f"{salt}{text}".encode()).hexdigest()


def _chain(last: str, digest: str) -> str:
    return hashlib.sha256(f"{last}{digest}".encode()).hexdigest()
