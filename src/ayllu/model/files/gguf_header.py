"""The header of a GGUF file: whether its counts and lengths fit into the file, before a reader believes them.

Format: docs/gguf.md in ggml-org/ggml.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value by its type."""
_STRING, _ARRAY = 8, 9
MOST_ENTRIES = 1 << 21
"""In all lists together: the reader makes objects of each. The largest vocabularies have a quarter million tokens."""
_LEAST_TENSOR = 24
"""Bytes that the description of a tensor has at least: lengths of name and shape, type and offset."""
_LEAST_FIELD = 13
"""Bytes that a field has at least: the length of its name, its type and its value."""


def check_header(path: Path) -> None:
    """Raises ValueError with one clause where the file promises more than it can hold, or is no GGUF file."""
    with path.open("rb") as file:
        if path.stat().st_size < 24:
            raise ValueError("it ends within its header")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _Header(data).check()


class _Header:
    """A position in the file that only moves on within it."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at, self._entries = data, 4, 0
        if data[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        self._order = "<" if struct.unpack_from("<I", data, 4)[0] & 0xFFFF else ">"
        self._at = 8

    def check(self) -> None:
        tensors, fields = self._number("Q"), self._number("Q")
        self._check_room(tensors * _LEAST_TENSOR + fields * _LEAST_FIELD)
        for _ in range(fields):
            self._skip(self._number("Q"))
            self._value(self._number("I"))

    def _value(self, kind: int) -> None:
        if kind == _STRING:
            self._skip(self._number("Q"))
        elif kind == _ARRAY:
            inner, count = self._number("I"), self._number("Q")
            self._entries += count
            if self._entries > MOST_ENTRIES:
                raise ValueError(f"its lists have more than {MOST_ENTRIES:,} entries, which no vocabulary has")
            if inner == _STRING:
                self._check_room(8 * count)
                for _ in range(count):
                    self._skip(self._number("Q"))
            else:
                self._skip(count * self._width(inner))
        else:
            self._skip(self._width(kind))

    def _width(self, kind: int) -> int:
        if kind not in _WIDTHS:
            raise ValueError(f"a field has the unknown type {kind}")
        return _WIDTHS[kind]

    def _number(self, form: str) -> int:
        self._check_room(struct.calcsize(form))
        number: int = struct.unpack_from(self._order + form, self._data, self._at)[0]
        self._at += struct.calcsize(form)
        return number

    def _skip(self, count: int) -> None:
        self._check_room(count)
        self._at += count

    def _check_room(self, count: int) -> None:
        if count > len(self._data) - self._at:
            raise ValueError("it promises more than the file holds")
