"""One measurement with several seeds: what another seed would have given, and how much of the spread is the seed's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ayllu.evals.comparison.paired import SeedVariance, seed_variance
from ayllu.evals.table import aligned
from ayllu.lab.error import UserError

Verdicts = Mapping[str, Mapping[str, float]]
"""Name of a score to what each item gave: 1 right, 0 wrong."""


def across_seeds(runs: Sequence[Verdicts], names: Sequence[str]) -> list[dict[str, Any]]:
    """For each score the mean over runs with an interval for other seeds and other items, and where its spread is from.

    `runs` are the same measurement of models that differ in their seed alone, called `names`. Returns [{"name",
    "value", "low", "high", "n", "runs", "by_run", "seed_share"}]: `seed_share` is the part of the mean's variance that
    comes from seeds, which more items do not make smaller. Raises UserError for fewer than two runs, and where they
    were not asked the same items.
    """
    if len(runs) < 2:
        raise UserError("one run says nothing of what another seed would give: name at least two")
    first = runs[0]
    for name, run in zip(names[1:], runs[1:], strict=True):
        for score in sorted(first.keys() | run.keys()):
            mine, theirs = first.get(score, {}), run.get(score, {})
            if mine.keys() != theirs.keys():
                raise UserError(
                    f"{names[0]} and {name} cannot be put together: of {score} they were asked {len(mine):,} and "
                    f"{len(theirs):,} items, {len(mine.keys() & theirs.keys()):,} of them the same"
                )
    return [_score(score, [run[score] for run in runs]) for score in first if len(first[score]) > 1]


def _score(name: str, runs: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    scores_SN = np.array([[run[item] for item in runs[0]] for run in runs], np.float64)
    found = seed_variance(scores_SN)
    return {
        "name": name,
        **found.interval.as_json(),
        "n": scores_SN.shape[1],
        "runs": len(runs),
        "by_run": scores_SN.mean(1).tolist(),
        "seed_share": _seed_share(found, *scores_SN.shape),
    }


def _seed_share(found: SeedVariance, seeds: int, items: int) -> float:
    parts = (found.seeds / seeds, found.items / items, found.rest / (seeds * items))
    return parts[0] / total if (total := sum(parts)) else 0.0


def seeds_table(found: Mapping[str, Any]) -> str:
    """{"scores": what `across_seeds` gives} as a table for the terminal."""
    rows = [
        (
            score["name"],
            f"{score['n']:,}",
            f"{100 * score['value']:.1f} % ({100 * score['low']:.1f}–{100 * score['high']:.1f})",
            ", ".join(f"{100 * value:.1f}" for value in score["by_run"]),
            f"{100 * score['seed_share']:.0f} %",
        )
        for score in found["scores"]
    ]
    head = ("score", "items", "right", "by run", "of the variance from seeds")
    return aligned(head, rows) + "\nIn brackets 95 % confidence, for other seeds and other items.\n"
