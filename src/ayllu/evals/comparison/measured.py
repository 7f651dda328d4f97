"""Measurements found again by folder or name, and put side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ayllu.evals.comparison.compare import compare_scores
from ayllu.evals.comparison.seeds import across_seeds
from ayllu.evals.harness.results import compare_with_samples, sample_files
from ayllu.evals.profile.compare import compare_profiles
from ayllu.evals.profile.kept import find_profile, read_profile
from ayllu.evals.recompute import recompute
from ayllu.evals.score import ITEMS, SCORES, headline
from ayllu.lab.channel import find_model
from ayllu.lab.error import UserError


def compare_measured(first: str, second: str, *, home: Path, cache: Path) -> dict[str, Any]:
    """What both have, compared: {"sets", "bits_per_byte", "profile"}, see `compare_scores` and `compare_profiles`.

    Raises UserError where they have no measurement of one kind in common, or were not asked the same.
    """
    names = (first, second)
    profiles = [find_profile(name, cache) is not None for name in names]
    scores = [scores_folder(name, home) for name in names]
    found: dict[str, Any] = {"sets": {}, "bits_per_byte": {}, "profile": {}}
    samples = [sample_files(Path(name).expanduser()) for name in names]
    if any(files and folder is None for files, folder in zip(samples, scores, strict=True)):
        return found | compare_with_samples(names, scores)
    if all(profiles):
        found["profile"] = compare_profiles(read_profile(first, cache), read_profile(second, cache))
    if scores[0] is not None and scores[1] is not None:
        return found | compare_scores(recompute(scores[0]), recompute(scores[1]))
    if not all(profiles):
        for name, profile, folder in zip(names, profiles, scores, strict=True):
            if not profile and folder is None:
                raise _nothing(name)
        raise UserError(f"{first!r} and {second!r} have no measurement of one kind in common: measure both in one way")
    return found


def seeds_measured(names: Sequence[str], *, home: Path, cache: Path) -> dict[str, Any]:
    """Runs that differ in their seed alone, put together: {"scores": [...]}, see `across_seeds`.

    Raises UserError for fewer than two, and where they were not asked the same.
    """
    return {"scores": across_seeds([_verdicts(name, home, cache) for name in names], names)}


def _verdicts(name: str, home: Path, cache: Path) -> dict[str, dict[str, float]]:
    """What each item of each score gave: of scores by their headline accuracy, of a profile by row and mode."""
    found: dict[str, dict[str, float]] = {}
    if (folder := scores_folder(name, home)) is not None:
        for outcome in recompute(folder).outcomes:
            right = outcome.correct_norm if headline(outcome.set, [outcome]) == "accuracy_norm" else outcome.correct
            found.setdefault(outcome.set, {})[f"{outcome.id} {outcome.digest}"] = float(right)
        return found
    if find_profile(name, cache) is None:
        raise _nothing(name)
    for kept in read_profile(name, cache).verdicts:
        found.setdefault(f"{kept.row} ({kept.mode})", {})[f"{kept.id} {kept.digest}"] = float(kept.solved)
    return found


def scores_folder(name: str, home: Path) -> Path | None:
    """The folder with scores.json that is meant: the one that is given, or a model's release; None where none is."""
    folder = Path(name).expanduser()
    if (folder / SCORES).is_file():
        return folder
    try:
        folder = find_model(name, home)
    except UserError:
        return None
    return folder if (folder / SCORES).is_file() and (folder / ITEMS).is_file() else None


def _nothing(name: str) -> UserError:
    return UserError(
        f"{name!r} has no measurement: give a folder that `ayllu eval --out` wrote, or the name of a model that was "
        "measured"
    )
