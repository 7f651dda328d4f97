"""Digests of what a release holds: of each file, and of the weights however they are split into files."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayllu.lab import progress

CHUNK = 8 << 20
LARGE = 1 << 30
"""Folders with more bytes show a progress bar while they are read."""


def folder_files(folder: Path) -> list[str]:
    """The path of every entry below `folder` that is not a folder, with slashes, sorted: links and pipes too."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def file_digests(folder: Path, paths: list[str]) -> dict[str, str]:
    """The sha256 of each file of `paths`, hexadecimal."""
    total = sum((folder / path).stat().st_size for path in paths)
    if total < LARGE:
        return {path: _sha256(folder / path) for path in paths}
    digests = {}
    with progress.bar("hash", total=total / 1e6, unit="MB") as bar:
        for path in paths:
            digests[path] = _sha256(folder / path, bar)
    return digests


def _sha256(path: Path, bar: progress.Bar | None = None) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            state.update(chunk)
            if bar:
                bar.advance(len(chunk) / 1e6)
    return state.hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredWeights:
    """What the safetensors files of a folder hold together."""

    parameters: int
    """Stored numbers; a tied output projection is stored once."""
    dtype: str
    """Type of the largest tensor, such as F32 or BF16."""
    digest: str
    """sha256 over name, type, shape and sha256 of every tensor, in the order of the names: the same for the same
    weights in one file or many."""


def inspect_weights(folder: Path) -> StoredWeights:
    """Read the safetensors files in `folder` without torch. Raises ValueError where one is damaged.

    Format: eight bytes with the header's length, a JSON header with the type, shape and byte range of each tensor,
    the bytes (huggingface/safetensors).
    """
    tensors: list[tuple[str, str]] = []
    parameters, largest = 0, (0, "")
    for path in sorted(folder.glob("*.safetensors")):
        try:
            for name, tensor, content in _tensors(path):
                count = math.prod(tensor["shape"])
                parameters += count
                largest = max(largest, (count, tensor["dtype"]))
                tensors.append((name, f"{name} {tensor['dtype']} {tensor['shape']} {content}\n"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path.name} is not a safetensors file ({error})") from None
    digest = hashlib.sha256("".join(line for _, line in sorted(tensors)).encode()).hexdigest()
    return StoredWeights(parameters=parameters, dtype=largest[1], digest=digest)


def _tensors(path: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Name, description and sha256 of each tensor in a safetensors file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= path.stat().st_size - 8:
            raise ValueError("its header is longer than the file")
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, tensor in header.items():
            begin, end = tensor["data_offsets"]
            if not 0 <= begin <= end <= path.stat().st_size - 8 - length:
                raise ValueError(f"{name} lies outside the file")
            file.seek(8 + length + begin)
            content = hashlib.sha256()
            while begin < end and (chunk := file.read(min(CHUNK, end - begin))):
                content.update(chunk)
                begin += len(chunk)
            yield name, tensor, content.hexdigest()
