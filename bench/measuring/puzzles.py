"""Puzzles of ARC-AGI: recursive forests grown on each puzzle alone, beside simple programs, on the same puzzles.

    python bench/measuring/puzzles.py [arc-agi-1|arc-agi-2] [--tasks 40] [--minutes 1] [--keep]

The puzzles are drawn from the public evaluation by a seed that was fixed before any of them was looked at. Prints a
table; `--keep` writes bench/records/puzzles/NAME.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep

from ayllu.api.measuring import puzzles
from ayllu.evals.arc.table import NAMES, PUBLISHED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="arc-agi-1", choices=("arc-agi-1", "arc-agi-2"))
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=1.0, help="of a core, for a puzzle")
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args()
    found = puzzles(asked.name, tasks=asked.tasks, minutes=asked.minutes)
    rounds = found.pop("puzzles")
    print(table(found))
    if asked.keep:
        keep(f"puzzles/{asked.name.replace('-', '_')}", found, rounds=rounds)


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    lines = [
        f"| {figures['set'].upper()}, public evaluation | kind | puzzles | solved (95 %) | cost of a puzzle |",
        "|---|---|---|---|---|",
    ]
    for row in figures["solvers"]:
        share = f"**{100 * row['value']:.1f} %** ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
        cost = f"{row['seconds']:.1f} s of a core in the median"
        lines.append(f"| {NAMES[row['name']]} | {row['mode']} | {figures['tasks']}, drawn | {share} | {cost} |")
    change = figures["difference"]
    lines.append(
        f"| forests minus programs, same puzzles | | {figures['tasks']} | {100 * change['value']:+.1f} points "
        f"({100 * change['low']:+.1f} to {100 * change['high']:+.1f}), p = {change['p']:.2g} | |"
    )
    everything = {"arc-agi-1": 400, "arc-agi-2": 120}[figures["set"]]
    lines += [
        f"| published: {name} | transductive | all {everything} | {share} | {cost} |"
        for name, share, cost in PUBLISHED[figures["set"]]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
