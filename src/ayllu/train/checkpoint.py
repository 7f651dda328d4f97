"""The full state of a training run on disk: written aside, digested, and moved into place in one rename."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from ayllu.lab.key import file_digest
from ayllu.lab.progress import say

KEPT = 2
"""Checkpoints kept: the newest, and the one before for when the newest turns out damaged."""


def save(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values) as the checkpoint of `step` and delete those no longer kept."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with (partial / "state.pt").open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    (partial / "sha256").write_text(file_digest(partial / "state.pt"))
    place = folder / f"step-{step:09d}"
    shutil.rmtree(place, ignore_errors=True)
    partial.rename(place)
    for old in sorted(folder.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def latest(folder: Path) -> tuple[int, dict[str, Any]] | None:
    """Step and state of the newest whole checkpoint, or None; damaged ones are passed over with a warning."""
    for place in sorted(folder.glob("step-*"), reverse=True):
        try:
            if file_digest(place / "state.pt") != (place / "sha256").read_text():
                raise ValueError("its digest differs")
            return int(place.name[5:]), torch.load(place / "state.pt", weights_only=True, map_location="cpu")
        except (OSError, ValueError, RuntimeError) as error:
            say(f"checkpoint {place} cannot be used ({error}); taking the one before")
    return None
