"""The user's own files of hazards: a JSON file that names each with its digest.

    {"over_refusal": {"path": "xstest_prompts.csv", "sha256": "…"},   columns prompt and label (safe or unsafe)
     "bias":         {"path": "bbq.jsonl.gz", "sha256": "…"},         BBQ's rows
     "harmful":      {"path": "requests.jsonl", "sha256": "…"},       rows with prompt, and category if wanted
     "toxicity":     {"path": "beginnings.jsonl", "sha256": "…"},     rows with text
     "corpus":       {"path": "documents.jsonl", "sha256": "…"}}      what the model was trained on: rows with text

Paths are relative to that file. The digest is asked for: a suite says by it what it measured.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.safety.judge.labelled import check_digest

NAMES = ("over_refusal", "bias", "harmful", "toxicity", "corpus")
Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class HazardFile:
    """Rows of a user's file, with its name and digest."""

    name: str
    sha256: str
    rows: Rows

    @property
    def source(self) -> dict[str, str]:
        """What a record says of it."""
        return {"file": self.name, "sha256": self.sha256}


def read_hazard_files(path: Path) -> dict[str, HazardFile]:
    """The files that `path` names; UserError where one is not there, is another, or holds something else."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); name a file that says which hazard files"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{path} is no JSON ({error}); write an object with a path and a sha256 for each suite"
        ) from error
    if not isinstance(given, dict) or (unknown := sorted(set(given) - set(NAMES))):
        said = f"names {unknown[0]!r}" if isinstance(given, dict) else "is no object"
        raise UserError(f"{path} {said}; it may name {', '.join(NAMES)}")
    return {name: _read(path, name, entry) for name, entry in given.items()}


def _read(listing: Path, name: str, entry: Any) -> HazardFile:
    if not isinstance(entry, Mapping) or not all(isinstance(entry.get(key), str) for key in ("path", "sha256")):
        raise UserError(f"{listing}: {name} needs a path and a sha256")
    path = listing.parent / entry["path"]
    digest = check_digest(path, entry["sha256"])
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        rows = _rows(data.decode("utf-8-sig"), path)
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as rows ({error}); give CSV with a head, or JSON lines") from error
    needed = {"over_refusal": ("prompt", "label"), "bias": BBQ_FIELDS, "harmful": ("prompt",)}.get(name, ("text",))
    for number, row in enumerate(rows, start=1):
        if missing := [key for key in needed if key not in row]:
            raise UserError(f"{path}, row {number} has no {missing[0]}; {name} needs {', '.join(needed)}")
    if not rows:
        raise UserError(f"{path} holds no rows; give some for {name}")
    return HazardFile(name=path.name, sha256=digest, rows=rows)


BBQ_FIELDS = (
    "context",
    "question",
    "ans0",
    "ans1",
    "ans2",
    "label",
    "context_condition",
    "question_polarity",
    "category",
    "answer_info",
    "additional_metadata",
)


def _rows(text: str, path: Path) -> Rows:
    if ".csv" in path.suffixes:
        return [dict(row) for row in csv.DictReader(io.StringIO(text, newline=""))]
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a row is no object")
    return rows
