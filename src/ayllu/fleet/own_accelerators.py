"""Accelerators of one's own, from a file: a part that the catalogue lacks, a slice of one, or figures of a vendor's."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ayllu.fleet.catalogue import OWN, RATES, TEXTS, Accelerator, accelerator_of, accelerators, columns
from ayllu.lab.error import UserError


@contextmanager
def own_accelerators(path: Path | str | None) -> Iterator[None]:
    """Inside it the catalogue has the accelerators of that file too. Raises UserError on anything amiss."""
    if path is None:
        yield
        return
    token = OWN.set({**OWN.get(), **read_accelerators(Path(path))})
    try:
        yield
    finally:
        OWN.reset(token)


def read_accelerators(path: Path) -> dict[str, Accelerator]:
    """By id the accelerators of a CSV with the catalogue's columns, or of a JSON list of objects with its names.

    What is not given is as for a part that nobody published it of. Raises UserError.
    """
    found: dict[str, Accelerator] = {}
    for number, row in enumerate(_rows(path), start=1):
        where = f"{path}, accelerator {number}"
        part = _accelerator(row, where, path.name)
        if part.id in accelerators() or part.id in found:
            raise UserError(f"{where}: there is an accelerator {part.id!r} already; give it another id")
        found[part.id] = part
    if not found:
        raise UserError(f"{path}: holds no accelerator; give rows with id, memory_gb and bf16_tflops")
    return found


def _rows(path: Path) -> list[Mapping[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() != ".json":
            return list(csv.DictReader(text.splitlines()))
        rows = json.loads(text)
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{path}: cannot be read as a table of accelerators ({reason})") from None
    rows = [rows] if isinstance(rows, dict) else rows
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path}: must hold a list of objects, each an accelerator with id, memory_gb and bf16_tflops")
    return rows


def _accelerator(given: Mapping[str, Any], where: str, source: str) -> Accelerator:
    unknown = [str(name) for name in given if name not in columns()]
    if unknown:
        raise UserError(f"{where}: unknown column {unknown[0]!r}; known are {', '.join(columns())}")
    row = dict.fromkeys(columns(), "") | {name: _text(value) for name, value in given.items()}
    for name, text in row.items():
        if name not in TEXTS and text and not _is_number(text):
            raise UserError(f"{where}: {name} is {text!r}; it must be a number above 0")
    row["id"] = (row["id"] or row["name"]).strip().lower()
    if not row["id"] or not row["memory_gb"] or not any(row[column] for column in RATES):
        raise UserError(f"{where}: an accelerator needs an id, memory_gb and a rate such as bf16_tflops")
    if any(mark in row["id"] for mark in "+,="):
        raise UserError(f"{where}: the id {row['id']!r} has one of '+,=', which separate names of parts")
    return accelerator_of(row | {"name": row["name"] or row["id"], "source": row["source"] or f"given in {source}"})


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, list):
        return ";".join(map(str, value))
    return "" if value is None else str(value)


def _is_number(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False
