"""Small changes to the files of a release, as functions of its folder and of what its publisher has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ayllu.release.mutations.small import Small

Harm = Callable[[Path, Small], None]


def bit(file: str, place: float = 0.5) -> Harm:
    """Turn one bit over."""

    def harm(folder: Path, small: Small) -> None:
        content = bytearray((folder / file).read_bytes())
        content[int(len(content) * place)] ^= 1
        (folder / file).write_bytes(content)

    return harm


def put(file: str, *path: str | int, value: Any) -> Harm:
    """Set a field of a JSON file."""

    def harm(folder: Path, small: Small) -> None:
        whole = json.loads((folder / file).read_text(encoding="utf-8"))
        inner = whole
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        (folder / file).write_text(json.dumps(whole), encoding="utf-8")

    return harm


def replace(file: str, old: str, new: str) -> Harm:
    """Put `new` in the place of `old`, once."""

    def harm(folder: Path, small: Small) -> None:
        text = (folder / file).read_text(encoding="utf-8")
        if old not in text:
            raise AssertionError(f"{file} does not hold {old!r}: the mutation would change nothing")
        (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return harm


def same_length(file: str, old: bytes, new: bytes) -> Harm:
    """Put `new` in the place of `old`, which is as long, in a file that is no text."""

    def harm(folder: Path, small: Small) -> None:
        content = (folder / file).read_bytes()
        if content.count(old) != 1 or len(old) != len(new):
            raise AssertionError(f"{file} does not hold {old!r} once, or {new!r} is longer or shorter")
        (folder / file).write_bytes(content.replace(old, new))

    return harm


def write(file: str, content: bytes) -> Harm:
    """Write a file, whether it is there or not."""

    def harm(folder: Path, small: Small) -> None:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(content)

    return harm


def remove(*files: str) -> Harm:
    """Take files away."""

    def harm(folder: Path, small: Small) -> None:
        for file in files:
            (folder / file).unlink()

    return harm


def rename(old: str, new: str) -> Harm:
    """Call a file by another name."""

    def harm(folder: Path, small: Small) -> None:
        (folder / old).rename(folder / new)

    return harm
