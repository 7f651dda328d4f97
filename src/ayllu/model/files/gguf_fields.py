"""The fields of a GGUF file, or of the first of several that hold one model, read as the kinds that they must have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ayllu.model.files.gguf_header import check_header

if TYPE_CHECKING:
    from gguf import GGUFReader

SPLIT = re.compile(r"(?P<name>.+)-\d{5}-of-(?P<count>\d{5})\.gguf")
"""The name of one part of a split model, as llama.cpp's gguf-split gives it."""


def parts(path: Path) -> list[Path]:
    """The files of the model that `path` belongs to: itself, or NAME-00001-of-00003.gguf and so on, in order."""
    split = SPLIT.fullmatch(path.name)
    if split is None:
        return [path]
    count = int(split["count"])
    return [path.with_name(f"{split['name']}-{i:05d}-of-{count:05d}.gguf") for i in range(1, count + 1)]


class Parts:
    """A GGUF file, or several that hold one model: the first has the fields, all have tensors."""

    def __init__(self, path: Path) -> None:
        readers = []
        for file in parts(path):
            try:
                check_header(file)
                readers.append(_reader(file))
            except FileNotFoundError:
                raise ValueError(f"{file} does not exist; give a GGUF file, all of its parts beside it") from None
            except Exception as error:  # whatever the reader meets in bytes that are not GGUF
                raise ValueError(f"{file} cannot be read as GGUF ({error}); copy or download it again") from None
        self.tensors = [tensor for reader in readers for tensor in reader.tensors]
        self.get_field = readers[0].get_field


def _reader(file: Path) -> GGUFReader:
    """The library's reader over a plain array: on a `memmap` it takes three times as long for each entry of a list."""
    import gguf

    class OverArray(gguf.GGUFReader):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value.view(np.ndarray) if isinstance(value, np.memmap) else value)

    return OverArray(file)


_REQUIRED = object()


def read_field(reader: Parts, path: Path, key: str, default: Any = _REQUIRED) -> Any:
    field = reader.get_field(key)
    if field is not None:
        return field.contents()
    if default is _REQUIRED:
        raise ValueError(f"{path} lacks the field {key}; it does not hold a complete Llama model")
    return default


def read_whole(reader: Parts, path: Path, key: str, default: Any = _REQUIRED) -> int:
    value = read_field(reader, path, key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{path}: {key} is no whole number")
    return value


def read_real(reader: Parts, path: Path, key: str, default: Any = _REQUIRED) -> float:
    value = read_field(reader, path, key, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{path}: {key} is no number")
    return float(value)


def read_text(reader: Parts, path: Path, key: str, default: str | None = None) -> str | None:
    value = read_field(reader, path, key, default)
    if value is not default and not isinstance(value, str):
        raise ValueError(f"{path}: {key} is no text")
    return value


def read_list(reader: Parts, path: Path, key: str, of: type, default: Any = _REQUIRED) -> list[Any]:
    """The list in a field, all of whose entries are of one kind; an empty list has no kind."""
    value = read_field(reader, path, key, default)
    if not isinstance(value, list) or not all(isinstance(entry, of) for entry in value):
        raise ValueError(f"{path}: {key} is no list of {'texts' if of is str else 'whole numbers'}")
    return value
