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
MOST_SHORT = 1 << 14
"""Fields, tensors, and entries of the lists beside `_LONG`, of which the largest models have some hundreds."""
_TOKENS, _MERGES = b"tokenizer.ggml.tokens", b"tokenizer.ggml.merges"
_BY_TOKEN = (b"tokenizer.ggml.token_type", b"tokenizer.ggml.scores")
_LONG = (_TOKENS, _MERGES, *_BY_TOKEN)
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
        self._data = data
        self._lengths: dict[bytes, int] = {}
        if data[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        self._order = "<" if struct.unpack_from("<I", data, 4)[0] & 0xFFFF else ">"
        self._at = 8

    def check(self) -> None:
        tensors, fields = self._number("Q"), self._number("Q")
        self._check_room(tensors * _LEAST_TENSOR + fields * _LEAST_FIELD)
        for what, count in (("tensors", tensors), ("fields", fields)):
            if count > MOST_SHORT:
                raise ValueError(f"it promises {count:,} {what}, and no model has more than {MOST_SHORT:,}")
        for _ in range(fields):
            name = self._text()
            self._value(self._number("I"), name)
        for name in _BY_TOKEN:
            if self._lengths.get(name, 0) > self._lengths.get(_TOKENS, 0):
                raise ValueError(f"its {name.decode()} is longer than that of its tokens")

    def _value(self, kind: int, name: bytes) -> None:
        if kind == _STRING:
            self._skip(self._number("Q"))
        elif kind == _ARRAY:
            self._list(name)
        else:
            self._skip(self._width(kind))

    def _list(self, name: bytes) -> None:
        inner, count = self._number("I"), self._number("Q")
        place = name if name in _LONG else b""
        self._lengths[place] = self._lengths.get(place, 0) + count
        if sum(self._lengths.values()) > MOST_ENTRIES:
            raise ValueError(f"its lists have more than {MOST_ENTRIES:,} entries, which no vocabulary has")
        if self._lengths.get(b"", 0) > MOST_SHORT:
            raise ValueError(f"its lists beside the vocabulary have more than {MOST_SHORT:,} entries")
        texts = name in (_TOKENS, _MERGES)
        if (inner == _STRING) != texts and place:
            raise ValueError(f"its {name.decode()} is no list of {'texts' if texts else 'numbers'}")
        if inner != _STRING:
            self._skip(count * self._width(inner))
            return
        self._check_room(8 * count)
        known: dict[bytes, int] = {}
        for number in range(count):
            text = self._text()
            if name == _TOKENS and known.setdefault(text, number) != number:
                shown = ascii(text.decode(errors="replace"))[:60]
                raise ValueError(f"its ids {known[text]} and {number} are both the token {shown}")

    def _width(self, kind: int) -> int:
        if kind not in _WIDTHS:
            raise ValueError(f"a field has the unknown type {kind}")
        return _WIDTHS[kind]

    def _number(self, form: str) -> int:
        self._check_room(struct.calcsize(form))
        number: int = struct.unpack_from(self._order + form, self._data, self._at)[0]
        self._at += struct.calcsize(form)
        return number

    def _text(self) -> bytes:
        length, start = self._number("Q"), self._at
        self._skip(length)
        return self._data[start : self._at]

    def _skip(self, count: int) -> None:
        self._check_room(count)
        self._at += count

    def _check_room(self, count: int) -> None:
        if count > len(self._data) - self._at:
            raise ValueError("it promises more than the file holds")
