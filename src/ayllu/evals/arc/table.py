"""Puzzle results for people, beside published ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PUBLISHED = {
    "arc-agi-1": (
        (
            "CompressARC, 76 thousand parameters, trained on each puzzle alone",
            "20 %",
            "20 minutes of an RTX 4070 a puzzle",
        ),
        ("TRM, 7 million parameters, trained on the evaluation's shown pairs too", "45 %", "3 days of 4 H100 in all"),
    ),
    "arc-agi-2": (
        ("TRM, 7 million parameters, trained on the evaluation's shown pairs too", "8 %", "3 days of 4 H100 in all"),
    ),
}
"""All transductive, of all 400 (120) puzzles of the public evaluation, two answers each: arXiv:2512.06104, and
arXiv:2510.04871, whose network learns a vector for each puzzle of the evaluation (without it 0 %: arXiv:2512.11847)."""
NAMES = {"programs": "simple programs", "forest": "our recursive forests, grown on each puzzle alone"}


def puzzles_table(found: Mapping[str, Any]) -> str:
    """The figures of `measure_puzzles` as lines."""
    head = f"{found['set'].upper()}, {found['part']}: {found['tasks']} puzzles, at most two answers to each grid"
    lines = [head, ""]
    for row in found["solvers"]:
        share = f"{100 * row['value']:.1f} % ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
        rest = f"{100 * row['grids_right']:.1f} % of grids, {100 * row['first_right']:.1f} % with one answer"
        cost = f"{row['seconds']:.1f} s of a core a puzzle"
        lines.append(f"{NAMES[row['name']]} ({row['mode']}): {share}; {rest}; {cost}")
    change = found["difference"]
    lines += [
        "",
        f"forests minus programs: {100 * change['value']:+.1f} points ({100 * change['low']:+.1f} to "
        f"{100 * change['high']:+.1f}), exact McNemar p = {change['p']:.3g}",
    ]
    if found["part"] == "evaluation":
        lines += [
            "",
            "published, of all puzzles of this part (others' machines and other puzzles: no comparison by item):",
        ]
        lines += [f"{name} (transductive): {share}; {cost}" for name, share, cost in PUBLISHED[found["set"]]]
    return "\n".join(lines) + "\n"
