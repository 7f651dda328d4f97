"""The profile of several subjects on the same items, and their picture.

    python bench/measuring/profiles.py SUBJECT... [--mode rank|gen] [--items 2] [--row ROW ...]
                                       [--dtype float32|bfloat16] [--home HOME] [--picture FILE] [--keep]

A SUBJECT is what `ayllu eval … --suite profile` takes: a model's name, a folder, a server, or program:random and the
like. One mode in all, since nothing else compares. The record has the difficulty that each solves half the time, row by
row, with its interval; rows that nobody measured are told, with the reason.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep

from ayllu.api.measuring import profile
from ayllu.data.archive import default_cache
from ayllu.evals.profile.kept import read_profile
from ayllu.evals.profile.picture import draw_profiles
from ayllu.evals.profile.rows import ROWS
from ayllu.evals.profile.table import MODES, told_interval, told_threshold


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    given.add_argument("subjects", nargs="+")
    given.add_argument("--mode", choices=("rank", "gen"), default="rank")
    given.add_argument("--items", type=int)
    given.add_argument("--row", nargs="*")
    given.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    given.add_argument("--home", type=Path)
    given.add_argument("--picture", type=Path)
    given.add_argument("--keep", action="store_true")
    asked = given.parse_args()
    found = {subject: measured(subject, asked) for subject in asked.subjects}
    figures = {
        "mode": asked.mode,
        "subjects": {
            subject: {key: one[key] for key in ("rows", "seconds", "level")} for subject, one in found.items()
        },
    }
    print(json.dumps(figures, indent=1))
    if asked.picture:
        draw_profiles([read_profile(name, default_cache()) for name in asked.subjects], asked.picture, mode=asked.mode)
    if asked.keep:
        keep("profiles", figures, rounds={subject: one["about"] for subject, one in found.items()})


def measured(subject: str, asked: argparse.Namespace) -> dict[str, Any]:
    """The rows of a subject in the mode that was asked, and the processor time that they took."""
    # Programs and servers choose neither type.
    own = {"dtype": asked.dtype} if "program:" not in subject and "://" not in subject else {}
    begun = time.process_time()
    one = profile(subject, rows=asked.row, items=asked.items, mode=asked.mode, home=asked.home, **own)
    both = one["by_mode"][asked.mode]
    rows = {row["row"]: row for row in (*both["profile"], *both["further"])}
    return {"rows": rows, "seconds": time.process_time() - begun, "level": one["level"], "about": one["about"]}


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown: a row of the profile a line, and why some have no figure."""
    subjects = figures["subjects"]
    lines = [
        f"Solved half the time at, with 95 % intervals: {MODES[figures['mode']]}. In brackets how many items.",
        "",
        f"| row | {' | '.join(name.removeprefix('program:') for name in subjects)} |",
        f"|---|{'---|' * len(subjects)}",
    ]
    reasons: dict[str, list[str]] = {}
    for name, row in ROWS.items():
        cells = [_cell(one["rows"].get(name)) for one in subjects.values()]
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
        for one in subjects.values():
            told = one["rows"].get(name)
            if told is not None and not told["measured"] and row.title not in reasons.setdefault(told["reason"], []):
                reasons[told["reason"]].append(row.title)
    lines += ["", *(f"Not measured, {', '.join(titles)}: {reason}." for reason, titles in reasons.items())]
    return "\n".join(lines)


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None or not row["measured"]:
        return "not measured"
    return f"{told_threshold(row)} ({told_interval(row)}) [{row['items']}]"


if __name__ == "__main__":
    main()
