"""Two profiles of the same items: which rows differ, paired item by item, and by how many levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ayllu.evals.comparison.shares import adjust, share_difference
from ayllu.evals.profile.curve import RESAMPLES, Cells, thresholds
from ayllu.evals.profile.figures import ENOUGH
from ayllu.evals.profile.kept import KeptProfile, KeptVerdict
from ayllu.evals.profile.rows import BY_EXAMPLES, ROWS
from ayllu.evals.profile.table import MODES
from ayllu.evals.statistics import CONFIDENCE
from ayllu.evals.table import aligned
from ayllu.lab.error import UserError

Pair = tuple[KeptVerdict, KeptVerdict]


def compare_profiles(first: KeptProfile, second: KeptProfile, *, seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """For each mode that both were asked in, the rows: {mode: [{"row", "items", "solved": {"value", "low", "high", "p",
    "p_holm", "only_first", "only_second", "detectable"}, "d50": {"value", "low", "high"}}]}.

    `solved` is the difference in the share of solved items, second minus first: Tango's interval and McNemar's exact
    test, or, where several items ask one rule, Student's t and a permutation test over rules. `p_holm` is adjusted for
    the rows of a mode. `d50` is the difference in levels, with the paired bootstrap over items; values beyond the scale
    are cut to it. Raises UserError where the two have no mode in common, or were not asked the same items.
    """
    modes = [mode for mode in MODES if all(any(v.mode == mode for v in one.verdicts) for one in (first, second))]
    if not modes:
        told = [", ".join(dict.fromkeys(v.mode for v in one.verdicts)) or "none" for one in (first, second)]
        raise UserError(
            f"the two cannot be compared: {first.name} was asked in the modes {told[0]}, {second.name} in {told[1]}; "
            "measure both in one mode"
        )
    rooms = [one.profile["about"].get("max_tokens") for one in (first, second)]
    if "gen" in modes and None not in rooms and rooms[0] != rooms[1]:
        # Who has no room to think aloud is wrong where the same model with room is right.
        modes.remove("gen")
        if not modes:
            raise UserError(
                f"the two cannot be compared: answers of {first.name} had room for {rooms[0]} tokens, those of "
                f"{second.name} for {rooms[1]}; measure both as weights or both through a server"
            )
    return {mode: _mode(_pairs(first, second, mode), seed) for mode in modes}


def profile_comparison_table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The object of `compare_profiles` as tables for the terminal."""
    blocks = []
    for mode, rows in found.items():
        head = ("row", "items", "levels", "solved", "p (Holm)")
        blocks.append(aligned(head, [_cells(row) for row in rows]) + f"\n{MODES[mode]}")
    blocks.append("Second minus first, in brackets 95 % confidence. Levels: of the difficulty solved half the time.")
    return "\n\n".join(blocks) + "\n"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    solved, d50 = row["solved"], row["d50"]
    points = [f"{100 * solved[key]:+.0f}" if solved[key] is not None else "?" for key in ("value", "low", "high")]
    return (
        ROWS[row["row"]].title,
        f"{row['items']}",
        f"{d50['value']:+.1f} ({d50['low']:+.1f} to {d50['high']:+.1f})",
        f"{points[0]} points ({points[1]} to {points[2]})",
        f"{solved['p_holm']:.3g}",
    )


def _pairs(first: KeptProfile, second: KeptProfile, mode: str) -> list[Pair]:
    """The verdicts on the same items. UserError where the items are not the same."""
    mine = {(v.id, v.digest): v for v in first.verdicts if v.mode == mode}
    theirs = {(v.id, v.digest): v for v in second.verdicts if v.mode == mode}
    if mine.keys() != theirs.keys():
        raise UserError(
            f"the two cannot be compared: in {MODES[mode]} they were asked {len(mine):,} and {len(theirs):,} items, "
            f"{len(mine.keys() & theirs.keys()):,} of them the same; measure both with the same rows, items and seed"
        )
    return [(verdict, theirs[key]) for key, verdict in mine.items()]


def _mode(pairs: Sequence[Pair], seed: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name in ROWS:
        mine = [pair for pair in pairs if pair[0].row == name and (pair[0].mode == "gen" or pair[0].chance > 0)]
        if mine:
            rows.append({"row": name, "items": len(mine), "solved": _solved(mine), "d50": _levels(mine, seed)})
    adjust(row["solved"] for row in rows)
    return rows


def _solved(pairs: Sequence[Pair]) -> dict[str, Any]:
    a, b = [one.solved for one, _ in pairs], [other.solved for _, other in pairs]
    return share_difference(a, b, [one.group for one, _ in pairs])


def _levels(pairs: Sequence[Pair], seed: int) -> dict[str, float]:
    """The difference of d50: the whole data first, then draws of items (or of groups of them) with replacement."""
    pairs = [pair for pair in pairs if pair[0].row != BY_EXAMPLES or (pair[0].examples or 0) >= ENOUGH]
    if not pairs:
        return {"value": 0.0, "low": 0.0, "high": 0.0}
    places = np.array([(one.level, one.chance) for one, _ in pairs], np.float64)
    cells, where = np.unique(places, axis=0, return_inverse=True)
    member_NC = np.eye(len(cells))[where.ravel()]
    _, group = np.unique([one.group for one, _ in pairs], return_inverse=True)
    count = int(group.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    weights_RN = np.concatenate([np.ones((1, count)), drawn])[:, group.ravel()]
    counts = Cells(cells[:, 0], cells[:, 1], np.zeros(len(cells)), np.zeros(len(cells)))
    items_RC = weights_RN @ member_NC
    d50 = [
        thresholds(counts, weights_RN @ (member_NC * np.array([[pair[side].solved] for pair in pairs])), items_RC)
        for side in (0, 1)
    ]
    difference = d50[1] - d50[0]
    low, high = np.quantile(difference[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {"value": round(float(difference[0]), 2), "low": round(float(low), 2), "high": round(float(high), 2)}
