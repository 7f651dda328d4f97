"""Which files a release may hold: a closed list, so that no code, pickle or archive travels with a model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ayllu.release.files.listing import SMALL, left_by_tools, list_folder, open_regular
from ayllu.release.reference import json_object

MANIFEST, SIGNATURE, PUBLIC_KEY = "manifest.json", "model.sig", "release-key.pub"
NEEDED = frozenset(
    (
        *("config.json", "generation_config.json", "README.md", "LICENSE", "LICENSES.md"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"),
        *("records.json", "scores.json", "sources.json", "items.jsonl", "documents.jsonl"),
    )
)
"""What every release holds besides its weights."""
POSSIBLE = frozenset(
    (
        *(
            "references.json",
            "TECHNICAL_REPORT.md",
            "policy.json",
            "policy.sig",
            "exception.json",
            MANIFEST,
            SIGNATURE,
            PUBLIC_KEY,
        ),
        *("model.safetensors.index.json", ".gitattributes"),
    )
)
PICTURES = {".png": b"\x89PNG\r\n\x1a\n", ".jpg": b"\xff\xd8\xff", ".jpeg": b"\xff\xd8\xff"}
"""Endings of figures, and how such a file begins."""
UNFINISHED = ".unfinished"
"""Lies in a folder whose build was broken off; the next build clears it."""
LINES = ("items.jsonl", "documents.jsonl")
"""Read line by line, and as long as the evaluation was large."""
LONGEST_LINES = 1 << 30
DOCUMENTS = "documents/"
"""The folder of what follows from the records, in the forms of others."""
_DOCUMENT = re.compile(rf"{DOCUMENTS}[\w][\w.-]*\.(?:json|jsonl|yaml|md)", re.ASCII)
_FIGURE = re.compile(r"figures/[\w][\w. -]*", re.ASCII)
_WEIGHTS = re.compile(r"[\w][\w.-]*\.safetensors", re.ASCII)


def content_problems(folder: Path, records: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, for each file of `folder` that no release holds, and each that it lacks."""
    found = list_folder(folder).files
    gguf = f"{(records.get('release') or {}).get('name')}.gguf"
    yield from _confusable(found)
    for path, size in sorted(found.items()):
        if not path.isascii():
            continue
        if path in NEEDED | POSSIBLE or path == gguf or _WEIGHTS.fullmatch(path) or left_by_tools(path):
            continue
        if _DOCUMENT.fullmatch(path):
            continue
        if _FIGURE.fullmatch(path):
            if not _is_picture(folder / path):
                yield path, "is no picture; figures are PNG or JPEG"
        elif (path, size) != (UNFINISHED, 0):
            yield path, "is none of the files that a release holds: no code, pickles, archives or other models"
    for path in sorted((NEEDED | {gguf}) - found.keys()):
        yield path, "is missing; every release holds it"
    for path in ("config.json", "tokenizer_config.json"):
        if path in found:
            named = json_object((folder / path).read_text(encoding="utf-8"), path)
            if "auto_map" in named:
                yield path, "names code to be run (auto_map); a release holds none"
            for field, value in named.items():
                # transformers takes the name of a repository there, and runs the kernels in it.
                if field.endswith("implementation") and "/" in str(value):
                    yield path, f"names code to be run ({field}); a release holds none"


def _confusable(files: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with its name, for each that people or programs take for another."""
    first: dict[str, str] = {}
    for path in sorted(files):
        if not path.isascii():
            yield path, "has a letter in its name that is not plain ASCII: it may look like another file and be none"
        elif first.setdefault(path.lower(), path) != path:
            yield path, f"differs from {first[path.lower()]} only in capital letters: many disks keep only one of them"


def oversized(files: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, for each of `files` (path to bytes) that is too large to be read."""
    for path, size in sorted(files.items()):
        most = LONGEST_LINES if path in LINES else SMALL
        if size > most and not path.endswith((".safetensors", ".gguf")):
            yield path, f"has {size:,} bytes, more than such a file of a release ever needs"


def _is_picture(path: Path) -> bool:
    begins = PICTURES.get(path.suffix.lower())
    with open_regular(path) as file:
        return begins is not None and file.read(len(begins)) == begins
