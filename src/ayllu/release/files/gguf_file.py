"""The header of a GGUF file, read without torch; a stranger's file cannot make it wait, or take more than it has.

Format: magic, version 3, counts of tensors and fields; the fields, each a name, a type and a value; name, shape, type
and offset of each tensor; the data, aligned (`docs/gguf.md` of ggml-org/ggml).
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayllu.release.files.listing import open_regular

STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""GGUF's numbers of the types of a field's value, as `struct` calls them."""
ITEM_BYTES = {0: 4, 1: 2, 30: 2}
"""F32, F16 and BF16, by GGML's numbers: what a release writes, and what can be compared to the bit."""
DEEPEST = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A tensor in the file."""

    shape: tuple[int, ...]
    """Rows first, as NumPy has it."""
    kind: int
    begin: int
    """Where it begins in the file."""


@dataclass(frozen=True, kw_only=True)
class GGUFFile:
    """An open GGUF file."""

    fields: dict[str, Any]
    tensors: dict[str, Stored]
    data: mmap.mmap

    def values(self, name: str) -> NDArray[Any]:
        """The stored numbers of a tensor as float32, float16, or uint16 for BF16; a copy. Raises ValueError."""
        tensor = self.tensors[name]
        if tensor.kind not in ITEM_BYTES:
            raise ValueError(f"{name} is stored in a type (GGML's number {tensor.kind}) that cannot be compared")
        dtype = {0: "<f4", 1: "<f2", 30: "<u2"}[tensor.kind]
        count = math.prod(tensor.shape)
        if tensor.begin + count * ITEM_BYTES[tensor.kind] > len(self.data):
            raise ValueError(f"{name} lies outside the file")
        return np.frombuffer(self.data, dtype, count, tensor.begin).reshape(tensor.shape).copy()


@contextmanager
def open_gguf(path: Path) -> Iterator[GGUFFile]:
    """Read the header of the GGUF file at `path`. Raises ValueError where it is damaged, OSError where unreadable."""
    with open_regular(path) as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise ValueError("is empty") from None
        with data:
            yield _Cursor(data).file()


class _Cursor:
    """Reads on from a place in the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def file(self) -> GGUFFile:
        try:
            return self._file()
        except (struct.error, UnicodeDecodeError, OverflowError) as error:
            raise ValueError(f"is damaged ({error})") from None

    def _file(self) -> GGUFFile:
        if self.data[:4] != b"GGUF" or struct.unpack_from("<I", self.data, 4) != (3,):
            raise ValueError("is no GGUF file of version 3")
        self.at = 8
        tensors, fields = self._number("Q"), self._number("Q")
        found: dict[str, Any] = {}
        # Each field and tensor takes bytes of the file, so that false counts end at its end.
        for _ in range(fields):
            name = self._string()
            if name in found:
                raise ValueError("names a field twice")
            found[name] = self._value(self._number("I"), 0)
        described = [self._description() for _ in self._counted(tensors)]
        alignment = found.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20:
            raise ValueError("says a strange alignment")
        start = -(-self.at // alignment) * alignment
        stored = {name: Stored(shape=shape, kind=kind, begin=start + offset) for name, shape, kind, offset in described}
        if len(stored) < len(described):
            raise ValueError("names a tensor twice")
        return GGUFFile(fields=found, tensors=stored, data=self.data)

    def _counted(self, count: int) -> range:
        if count > len(self.data):
            raise ValueError("counts more than it can hold")
        return range(count)

    def _description(self) -> tuple[str, tuple[int, ...], int, int]:
        name, dimensions = self._string(), self._number("I")
        if dimensions > 4:
            raise ValueError("has a tensor of more than four dimensions")
        shape = tuple(self._number("Q") for _ in range(dimensions))[::-1]
        return name, shape, self._number("I"), self._number("Q")

    def _value(self, kind: int, depth: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY and depth < DEEPEST:
            inner, count = self._number("I"), self._number("Q")
            if inner in SCALARS:
                return self._scalars(inner, count)
            return [self._value(inner, depth + 1) for _ in self._counted(count)]
        if kind in SCALARS:
            return self._number(SCALARS[kind])
        raise ValueError("has a field of an unknown type")

    def _scalars(self, kind: int, count: int) -> list[Any]:
        form = f"<{len(self._counted(count))}{SCALARS[kind]}"
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return list(values)

    def _number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return value

    def _string(self) -> str:
        length = self._number("Q")
        end = self.at + length
        if end > len(self.data):
            raise ValueError("has a text that does not end")
        text, self.at = self.data[self.at : end].decode("utf-8"), end
        return text
