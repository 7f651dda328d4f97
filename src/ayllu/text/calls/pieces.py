"""A call's arguments while they are written: for those who want them before the last brace has come."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEAD = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:parameters|arguments)"\s*:\s*(?=\{)')
"""What stands before the arguments of a call as JSON."""
LONGEST_HEAD = 400
"""Characters in which it must have come."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallPiece:
    """Some more of the arguments of the call that is being written, as it is written."""

    name: str
    text: str


class Scan:
    """Finds the brace that closes an object, or with `python` any bracket, going on where the last chunk ended."""

    def __init__(self, *, python: bool = False) -> None:
        self._at = self._depth = 0
        self._quoted, self._escaped = "", False
        self._quotes, self._open, self._close = ("\"'", "{[(", "}])") if python else ('"', "{[", "}]")

    def end(self, text: str, start: int) -> int | None:
        """The place behind the object that begins at `start`, or None while it is not complete."""
        for at in range(max(self._at, start), len(text)):
            character = text[at]
            self._at = at + 1
            if self._quoted:
                if self._escaped:
                    self._escaped = False
                elif character == "\\":
                    self._escaped = True
                elif character == self._quoted:
                    self._quoted = ""
            elif character in self._quotes:
                self._quoted = character
            elif character in self._open:
                self._depth += 1
            elif character in self._close:
                self._depth -= 1
                if self._depth <= 0:
                    return at + 1
        return None


class CallPieces:
    """The arguments of one call, piece by piece."""

    def __init__(self) -> None:
        self._scan = Scan()
        self._name, self._given = "", -1
        self._over = False

    def push(self, text: str, start: int, name: str | None = None) -> Iterator[CallPiece]:
        """What is new behind the place `start` of `text`, where the JSON of a call begins, or of its arguments where
        its `name` stands before it; the next time it begins at the same place."""
        if self._given < 0 and not self._over:
            self._find(text, start, name)
        if self._given < 0 or self._over:
            return
        end = self._scan.end(text, self._given)
        self._over = end is not None
        if new := text[self._given : end]:
            self._given += len(new)
            yield CallPiece(name=self._name, text=new)

    def _find(self, text: str, start: int, name: str | None) -> None:
        found = _HEAD.match(text, start)
        if name is not None:
            self._name, self._given = name, start
        elif found:
            try:
                self._name, self._given = json.loads(found[1]), found.end()
            except ValueError:
                self._over = True
        else:
            self._over = len(text) - start > LONGEST_HEAD
