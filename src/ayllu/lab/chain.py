"""A file of lines of which each holds the digest of the one before: none is changed, put in or left out unseen.

The last lines alone could be cut off unseen, so keep the last digest where that matters. What a line is and how it
names the one before is its user's: the moves of channels sign theirs, the ledger of the glasses can erase what its
lines say.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from ayllu.lab.error import UserError
from ayllu.lab.integrity import regular_bytes

START = "0" * 64
"""What the first line has for the digest of the one before."""
WRONG = (ValueError, RecursionError, KeyError, TypeError)
"""What a check raises for a line that is not as it was written."""
BLOCK = 1 << 16
"""Bytes that are read at once to find the last line."""
Line = TypeVar("Line")
"""A line as its user reads it."""


@dataclass(frozen=True, kw_only=True)
class Chain(Generic[Line]):
    """A file of linked lines; several processes may read and write it."""

    path: Path
    check: Callable[[Any, str, int], Line]
    """A line as it is used, from its JSON, the digest of the line before, and its number from 1. One of `WRONG` where
    it does not follow that line, or was changed."""
    digest: Callable[[Any], str]
    """The digest that the next line names, from a line's JSON."""
    mode: int = 0o666
    """Who may read and write the file, less the umask."""

    def read(self) -> list[Line]:
        """All lines, oldest first, checked. Raises UserError at the first that is not as it was written.

        A last line that a kill cut short is none: what it would have told of had not been done.
        """
        try:
            *lines, last = _lines(self.path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{self.path} cannot be read ({error})") from None
        return self._checked([*lines, last] if self._is_whole(last) else lines)

    def _checked(self, lines: Sequence[str]) -> list[Line]:
        found, before = [], START
        for number, line in enumerate(lines, start=1):
            try:
                fields = json.loads(line)
                found.append(self.check(fields, before, number))
                before = self.digest(fields)
            except WRONG as error:
                raise UserError(
                    f"{self.path} is not as it was written: line {number}: {error}; "
                    "lines from there prove nothing: put back a copy of it"
                ) from None
        return found

    def _is_whole(self, line: str) -> bool:
        try:
            self.digest(json.loads(line))
        except WRONG:
            return False
        return True

    @contextlib.contextmanager
    def held(self) -> Iterator[Held[Line]]:
        """Hold the file against other writers. What was appended is taken back where the block fails."""
        with _locked(self.path, self.mode) as file:
            self._mend(file)
            size = os.fstat(file).st_size
            try:
                yield Held(chain=self, file=file)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.ftruncate(file, size)
                raise

    def _mend(self, file: int) -> None:
        """Give a whole last line its end, and take one away that a kill cut short."""
        last = _tail(file)
        if last.endswith(b"\n") or not last:
            return
        if self._is_whole(last.decode(errors="replace")):
            _write(file, b"\n")
        else:
            os.ftruncate(file, os.fstat(file).st_size - len(last))


@dataclass(frozen=True, kw_only=True)
class Held(Generic[Line]):
    """A chain that nobody else writes to."""

    chain: Chain[Line]
    file: int

    def last(self) -> str:
        """The digest that the next line names. Raises UserError where the last line has none."""
        line = _tail(self.file)
        if not line:
            return START
        try:
            return self.chain.digest(json.loads(line))
        except WRONG as error:
            raise UserError(
                f"{self.chain.path} is not as it was written: its last line: {error}; put back a copy of it"
            ) from None

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line, which is on disk when this returns."""
        _write(self.file, _encoded(line))

    def rewrite(self, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        """Put each line's JSON through `change`, which keeps what its digest is taken of: all lines, or none."""
        path, mode = self.chain.path, self.chain.mode
        text = b"".join(_encoded(change(json.loads(line))) for line in _lines(path)[:-1])
        # One name for every draft, so that the next one writes over what a kill left of this: it may hold what was to
        # be erased since.
        draft = path.with_name(f"{path.name}.partial")
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            _write(file, text)
        finally:
            os.close(file)
        draft.replace(path)


@contextlib.contextmanager
def _locked(path: Path, mode: int) -> Iterator[int]:
    """The file, opened for reading and appending, once nobody else holds it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, mode)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Who held it before may have put another file in its place.
            if _is_at(file, path):
                yield file
                return
        finally:
            os.close(file)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _lines(path: Path) -> list[str]:
    """The lines of a file, and what follows the last line end. Bytes that are no text make a changed line."""
    return regular_bytes(path).decode(errors="replace").split("\n")


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"


def _write(file: int, text: bytes) -> None:
    while text:
        text = text[os.write(file, text) :]
    os.fsync(file)


def _tail(file: int) -> bytes:
    """The last line, with its end where it has one; nothing of an empty file."""
    at, tail = os.fstat(file).st_size, b""
    while at and b"\n" not in tail[:-1]:
        start = max(0, at - BLOCK)
        tail, at = os.pread(file, at - start, start) + tail, start
    return tail[tail.rfind(b"\n", 0, -1) + 1 :]
