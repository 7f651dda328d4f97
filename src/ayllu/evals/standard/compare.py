"""Two models on standard sets that are not ranked choices: the difference of each set's first metric, paired."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ayllu.evals.comparison.shares import labels, share_difference
from ayllu.evals.standard.answers import RATIOS, Answer
from ayllu.evals.standard.table import TASKS
from ayllu.evals.statistics import mean_interval, ratio_interval
from ayllu.lab.error import UserError


def compare_answers(first: Sequence[Answer], second: Sequence[Answer]) -> dict[str, Any]:
    """Second minus first: {set: {"metric", "mode", "items", "value", "low", "high"}}, 95 % intervals over items.

    The metric is the set's first one; of whole texts always bits per byte. A share of right answers has all of
    `share_difference`, `p_holm` not yet filled in. UserError where the items are not the same.
    """
    mine, theirs = _by_task(first), _by_task(second)
    found = {}
    for name in sorted(mine.keys() | theirs.keys()):
        a, b = mine.get(name, {}), theirs.get(name, {})
        if a.keys() != b.keys():
            raise UserError(
                f"the two cannot be compared: of {name} they were asked {len(a):,} and {len(b):,} items, "
                f"{len(a.keys() & b.keys()):,} of them the same; evaluate both on the same suite"
            )
        found[name] = _difference(name, [(a[key], b[key]) for key in a])
    return found


def _by_task(answers: Sequence[Answer]) -> dict[str, dict[tuple[str, str], Answer]]:
    found: dict[str, dict[tuple[str, str], Answer]] = {}
    for answer in answers:
        found.setdefault(answer.task, {})[answer.id, answer.digest] = answer
    return found


def _difference(name: str, pairs: Sequence[tuple[Answer, Answer]]) -> dict[str, Any]:
    one = pairs[0][0]
    metric = TASKS[name].metrics[0] if name in TASKS else next(iter(one.values), "bits_per_byte")
    told = {"metric": "bits_per_byte" if metric in RATIOS else metric, "mode": one.mode, "items": len(pairs)}
    if metric in RATIOS:
        nats = [a.log_likelihoods[0] - b.log_likelihoods[0] for a, b in pairs]
        interval = ratio_interval(nats, [a.sizes["bytes"] * math.log(2) for a, _ in pairs])
    else:
        values = [[answer.values[metric] for answer in side] for side in zip(*pairs, strict=True)]
        if all(value in (0, 1) for side in values for value in side):
            first, second = ([bool(value) for value in side] for side in values)
            return told | share_difference(first, second, labels([(a.id, a.cluster) for a, _ in pairs]))
        interval = mean_interval([b - a for a, b in zip(*values, strict=True)])
    return told | interval.as_json()
