"""The ledger: what a sensor gave, why, and where it went. Each line holds the digest of the one before.

A line keeps the digest of its salted content beside the content, and the chain runs over the digests. Erasing takes
content and salt away and leaves the digest, so that the chain still holds and says nothing of what was erased.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ayllu.lab.error import UserError
from ayllu.lab.store import storage_told

START = "0" * 64
"""Before the first line."""


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

    def note(self, **content: Any) -> None:
        """Write a line, which is on disk when this returns. Raises UserError where it cannot be."""
        with storage_told(self.path.parent, "the ledger of the glasses"), self._locked() as file:
            last = START
            lines = file.read().splitlines()
            if lines:
                last = str(_parsed(lines[-1], len(lines), self.path)["chain"])
            file.write(_line({"time": round(time.time(), 3), **content}, last) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def entries(self) -> list[Entry]:
        """All lines, checked. Raises UserError at the first that was changed, left out or put elsewhere."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        found, last = [], START
        for number, line in enumerate(lines, 1):
            fields = _parsed(line, number, self.path)
            content, digest = fields.get("content"), fields["digest"]
            written = content is None or _digest(content, str(fields.get("salt"))) == digest
            if not written or _chain(last, digest) != fields["chain"]:
                raise UserError(f"{self.path}: line {number} is not as it was written; lines from there prove nothing")
            last = str(fields["chain"])
            found.append(Entry(number=number, content=content, digest=digest, chain=last))
        return found

    def erase(self, chosen: Callable[[dict[str, Any]], bool]) -> int:
        """Take the content of lines away, and write that it was done; gives how many."""
        self.entries()
        with storage_told(self.path.parent, "the ledger of the glasses"), self._locked() as file:
            kept, count = [], 0
            for number, line in enumerate(file.read().splitlines(), 1):
                fields = _parsed(line, number, self.path)
                if fields.get("content") is not None and chosen(fields["content"]):
                    count += 1
                    fields = {"digest": fields["digest"], "chain": fields["chain"]}
                kept.append(json.dumps(fields, ensure_ascii=False))
            draft = self.path.with_suffix(f".{os.getpid()}.partial")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
                out.write("".join(f"{line}\n" for line in kept))
                out.flush()
                os.fsync(out.fileno())
            draft.replace(self.path)
        if count:
            self.note(what="erased", lines=count)
        return count

    @contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        """The file, read and appended to by nobody else meanwhile."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.path.parent / ".ledger.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            opened = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(opened, "r+", encoding="utf-8") as file:
                yield file


def _line(content: dict[str, Any], last: str) -> str:
    salt = secrets.token_hex(16)
    digest = _digest(content, salt)
    fields = {"content": content, "salt": salt, "digest": digest, "chain": _chain(last, digest)}
    return json.dumps(fields, ensure_ascii=False)


def _digest(content: Any, salt: str) -> str:
    text = json.dumps(content, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(f"{salt}{text}".encode()).hexdigest()


def _chain(last: str, digest: Any) -> str:
    return hashlib.sha256(f"{last}{digest}".encode()).hexdigest()


def _parsed(line: str, number: int, path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(line)
        if isinstance(fields, dict) and isinstance(fields["digest"], str) and isinstance(fields["chain"], str):
            return fields
    except (ValueError, KeyError, RecursionError):
        pass
    raise UserError(f"{path}: line {number} is damaged; lines from there prove nothing")
