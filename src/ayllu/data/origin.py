"""Where an adopted model comes from and under which licence: `origin.json`, and what a source's own files state."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError

ORIGIN = "origin.json"
LICENCE_FILES = ("README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", ORIGIN)
"""Files that state a licence."""
_LICENCE_TEXTS = (
    ("Apache-2.0", r"Apache License\s+Version 2\.0"),
    ("MIT", r"MIT License|Permission is hereby granted, free of charge, to any person obtaining a copy"),
    ("llama3.3", r"LLAMA 3\.3 COMMUNITY LICENSE"),
    ("llama3.2", r"LLAMA 3\.2 COMMUNITY LICENSE"),
    ("llama3.1", r"LLAMA 3\.1 COMMUNITY LICENSE"),
    ("llama3", r"META LLAMA 3 COMMUNITY LICENSE"),
)
"""Licences by how their texts begin."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an adopted model comes from."""

    kind: str
    """What the source was: `package`, `gguf`, `hugging-face`, `hub` or `meta`."""
    source: str
    """Its name in words: without folders of this machine."""
    title: str
    """What the source calls the model."""
    licence: str
    files: dict[str, str]
    """sha256 of each file that was read."""
    types: dict[str, int]
    """How many tensors the source holds of each type, such as Q4_1."""
    stops: dict[str, list[str]] = field(default_factory=dict)
    """Each token that ends a reply, and which files or fields of the source name it."""
    left_out: list[str] = field(default_factory=list)
    """What the source says and cannot be done, each in one clause."""


def write_origin(folder: Path, origin: Origin) -> None:
    """Write `origin.json`."""
    text = json.dumps(dataclasses.asdict(origin), indent=2, ensure_ascii=False)
    (folder / ORIGIN).write_text(text + "\n", encoding="utf-8")


def read_origin(folder: Path) -> Origin:
    """What `write_origin` wrote. Raises UserError where it is missing or damaged."""
    try:
        return Origin(**json.loads((folder / ORIGIN).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{folder / ORIGIN} cannot be read ({error}): adopt the model again") from error


def stated_licence(place: Path) -> str | None:
    """The licence that the files in `place` state: an earlier adoption, the card, or a known text."""
    earlier = read_json_object(place / ORIGIN).get("licence")
    if isinstance(earlier, str):
        return earlier
    if (place / "README.md").is_file():
        from ayllu.data.sources.hub import read_card

        card = read_card(place / "README.md")
        stated = card.get("license_name") if card.get("license") == "other" else card.get("license")
        if isinstance(stated, str) and stated:
            return stated
    for name in LICENCE_FILES:
        if name.startswith("LIC") and (place / name).is_file():
            text = (place / name).read_text(encoding="utf-8", errors="replace")
            return next((known for known, words in _LICENCE_TEXTS if re.search(words, text)), None)
    return None


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none that can be read, since a model is usable without it."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
