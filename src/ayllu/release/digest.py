"""Digests of what a release holds: of each file, and of the weights however they are split into files."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ayllu.lab import progress
from ayllu.release.files.listing import open_regular

CHUNK = 8 << 20
LONGEST_HEADER = 100_000_000
"""Bytes of a safetensors header, as the format's own reader allows (huggingface/safetensors, `MAX_HEADER_SIZE`)."""
ITEM_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
FORMAT = "pt"
"""What the notes of a safetensors file call the way in which transformers loads it."""
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
    with open_regular(path) as file:
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
    parameters, largest, held = 0, (0, ""), dict[str, str]()
    for path in sorted(folder.glob("*.safetensors")):
        try:
            for name, tensor, content in _tensors(path):
                if name in held:
                    raise ValueError(f"{name} stands in {held[name]} too")
                held[name] = path.name
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
    with open_regular(path) as file:
        start, header = read_header(file)
        for name, tensor in header.items():
            begin, end = tensor["data_offsets"]
            file.seek(start + begin)
            content = hashlib.sha256()
            while begin < end and (chunk := file.read(min(CHUNK, end - begin))):
                content.update(chunk)
                begin += len(chunk)
            yield name, tensor, content.hexdigest()


def tensor_names(path: Path) -> list[str]:
    """What a safetensors file holds, in no order. Raises ValueError where it is damaged."""
    with open_regular(path) as file:
        return list(read_header(file)[1])


def read_header(file: BinaryIO) -> tuple[int, dict[str, Any]]:
    """Where the tensors of a safetensors file begin, and the description of each.

    Raises ValueError unless they fill the file without gap or overlap, each as long as its type and shape say, and
    where it holds none, or notes that other programs stop at.
    """
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(size - 8, LONGEST_HEADER):
        raise ValueError("its header is longer than the file, or than 100 MB")
    header = json.loads(file.read(length), object_pairs_hook=_unique)
    notes = header.pop("__metadata__", None) or {}
    if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
        raise ValueError("its notes (__metadata__) are not texts by name")
    if notes.get("format", FORMAT) != FORMAT:
        raise ValueError(f"its notes say that it is of the format {notes['format'][:40]!r}, which is not {FORMAT!r}")
    if not header:
        raise ValueError("it holds no tensor")
    reached = 0
    for name, tensor in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = tensor["data_offsets"]
        if begin != reached or end - begin != math.prod(tensor["shape"]) * ITEM_BYTES[tensor["dtype"]]:
            raise ValueError(f"{name} does not lie where its type and shape put it")
        reached = end
    if reached != size - 8 - length:
        raise ValueError("its tensors do not fill it")
    return 8 + length, header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a name that stands twice would mean one thing to one reader and another to the next."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in its header")
    return found
