"""Profiles on disk: what a measurement wrote, found again by folder or by the name that was measured."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayllu.evals.profile.answers import Verdict
from ayllu.lab.error import UserError
from ayllu.lab.integrity import shown

PROFILE, ITEMS = "profile.json", "items.jsonl"
LARGEST = 256 << 20
"""Bytes of a file of a profile that are read: anybody may have written it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptVerdict:
    """A line of items.jsonl, as far as it is compared."""

    id: str
    digest: str
    row: str
    level: int
    mode: str
    solved: bool
    answered: bool
    chance: float
    group: str
    examples: int | None


@dataclass(frozen=True, kw_only=True)
class KeptProfile:
    """A profile and its verdicts."""

    folder: Path
    profile: Mapping[str, Any]
    verdicts: tuple[KeptVerdict, ...]

    @property
    def name(self) -> str:
        """Who was measured."""
        return str(self.profile["about"].get("subject", self.folder.name))


def save_profile(profile: Mapping[str, Any], verdicts: Iterable[Verdict], folder: Path) -> None:
    """Write profile.json and items.jsonl, each complete or not at all. Raises UserError where it cannot write."""
    lines = "".join(json.dumps(verdict.as_json(), ensure_ascii=False) + "\n" for verdict in verdicts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in ((ITEMS, lines), (PROFILE, json.dumps(profile, indent=2, ensure_ascii=False) + "\n")):
            draft = folder / f"{name}.{os.getpid()}.tmp"
            draft.write_text(text, encoding="utf-8")
            draft.replace(folder / name)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write {folder} ({reason}): free the disk or choose another folder") from error


def kept_under(name: str, cache: Path) -> Path:
    """Where the last profile of a name is kept."""
    return cache / "evals" / "by-name" / hashlib.sha256(name.encode()).hexdigest()[:16]


def find_profile(name: str, cache: Path) -> Path | None:
    """The folder of a profile: the one given, or the last one measured of that name; None where there is none."""
    for folder in (Path(name).expanduser(), kept_under(name, cache)):
        if (folder / PROFILE).is_file():
            return folder
    return None


def read_profile(name: str, cache: Path) -> KeptProfile:
    """A profile by folder or name. Raises UserError where there is none, or where it is damaged."""
    folder = find_profile(name, cache)
    if folder is None:
        raise UserError(
            f"there is no profile of {shown(name)}: give the folder of one, or measure it with "
            "`ayllu eval MODEL --suite profile`"
        )
    try:
        texts = [_read(folder / part) for part in (PROFILE, ITEMS)]
        profile = json.loads(texts[0])
        verdicts = tuple(_verdict(json.loads(line)) for line in texts[1].splitlines())
        if not isinstance(profile["about"], dict) or not isinstance(profile["by_mode"], dict):
            raise ValueError("it has not the fields of one")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} holds no whole profile ({error}): measure again") from error
    return KeptProfile(folder=folder, profile=profile, verdicts=verdicts)


def _read(path: Path) -> str:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path.name} is larger than a profile can be")
    return path.read_text(encoding="utf-8")


def _verdict(line: Mapping[str, Any]) -> KeptVerdict:
    examples = line.get("examples")
    return KeptVerdict(
        id=str(line["id"]),
        digest=str(line["digest"]),
        row=str(line["row"]),
        level=int(line["level"]),
        mode=str(line["mode"]),
        solved=bool(line["solved"]),
        answered=bool(line["answered"]),
        chance=float(line["chance"]),
        group=str(line["group"]),
        examples=int(examples) if examples is not None else None,
    )
