"""A profile as text for the terminal, and what its items could show, said before they are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ayllu.evals.profile.curve import detectable_threshold_difference
from ayllu.evals.profile.item import Mode, ProfileItem
from ayllu.evals.profile.rows import ROWS
from ayllu.evals.statistics import DISCORDANT, detectable_difference
from ayllu.evals.table import aligned

HEAD = ("row", "solved half the time at", "95 %", "items", "curve fits (p)")
NOTE = (
    "Difficulty from 1, trivial, to 30, beyond any model; in the mode {mode}, and compared only within it. A p below "
    "0.01 says that no such curve fits the row."
)


def profile_table(profile: Mapping[str, Any]) -> str:
    """The rows of profile.json, in every mode that was asked."""
    blocks = []
    for mode, rows in profile["by_mode"].items():
        both = [*rows["profile"], *rows["further"]]
        blocks.append(aligned(HEAD, [_cells(row) for row in both]))
        blocks.append("\n".join([*_reasons(both), NOTE.format(mode=MODES[mode])]))
    blocks.append(profile["level"] + ".")
    return "\n\n".join(blocks) + "\n"


MODES = {"rank": "ranked choices", "gen": "generated text", "bpb": "bits per byte of the right answer"}


def told_threshold(row: Mapping[str, Any]) -> str:
    """d50 in words: a number, "below 1", "above 30", or that it is not measured."""
    if not row["measured"]:
        return "not measured"
    first, last = row["scale"]
    return {"below": f"below {first}", "above": f"above {last}"}.get(row["censored"], f"{row['d50']:.1f}")


def told_interval(row: Mapping[str, Any]) -> str:
    """The interval of a row that is measured, in words where it reaches the ends of the scale."""
    first, last = row["scale"]
    low = f"below {first}" if row["low"] <= first else f"{row['low']:.1f}"
    high = f"above {last}" if row["high"] >= last else f"{row['high']:.1f}"
    return f"{low} to {high}"


def describe_profile_power(items: Sequence[ProfileItem], mode: Mode) -> list[str]:
    """What a difference between two models must be to show four times in five, one line a row."""
    lines = []
    for name, row in ROWS.items():
        mine = [item for item in items if item.row == name and (mode == "gen" or item.choices)]
        if not mine:
            continue
        levels, chances = [item.level for item in mine], [item.chance(mode) for item in mine]
        levels_apart = detectable_threshold_difference(levels, chances, d50=8.0)
        share = detectable_difference(len(mine), DISCORDANT)
        paired = f", or {100 * share:.0f} points more solved" if share else ""
        lines.append(
            f"{row.title}: {len(mine)} items show {levels_apart:.1f} levels of difference around level 8{paired} "
            "(four times in five)"
        )
    return lines


def _reasons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why rows are not measured, those with one reason together."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if not row["measured"]:
            reasons.setdefault(row["reason"], []).append(row["title"])
    return [f"Not measured, {', '.join(titles)}: {reason}." for reason, titles in reasons.items()]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    if not row["measured"]:
        return (row["title"], "not measured", "", "", "")
    missing = f" ({row['missing']} without an answer)" if row["missing"] else ""
    return (row["title"], told_threshold(row), told_interval(row), f"{row['items']}{missing}", f"{row['fit_p']:.2f}")
