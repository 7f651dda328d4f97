"""The ladder of cria: the largest rung, predicted from those below it before it was trained, beside what came.

    python bench/ladder.py [--rungs 5] [--budget 40] [--home FOLDER] [--keep]

Prints one JSON object; `--keep` writes bench/records/training/ladder.json and docs/pictures/ladder.png. In a home where
the same ladder has been climbed nothing is trained again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keep import ROOT, keep

from ayllu.api.research import scale

FIGURES = ("metric", "fit", "predicted", "measured", "error_pct", "inside", "points", "refit", "tasks")


def table(figures: Mapping[str, Any]) -> str:
    """The held-out rung at each of its token counts as a Markdown table."""
    head = [
        "| parameters | tokens | predicted, bits per byte | 80 % interval | measured | error |",
        "|---|---|---|---|---|---|",
    ]
    rows = [
        f"| {figures['measured']['parameters'] / 1e6:.2f}M | {came['tokens'] / 1e6:.2f}M | {said['loss']:.3f} | "
        f"{said['low']:.3f} to {said['high']:.3f} | {came['loss']:.3f} | {came['error_pct']:+.1f} % |"
        for said, came in zip(figures["predicted"]["losses"], figures["measured"]["losses"], strict=True)
    ]
    if tasks := figures.get("tasks"):
        rows += [
            "",
            "| bits per byte of the right answer | predicted | 80 % interval | measured | error |",
            "|---|---|---|---|---|",
        ]
    for name, task in (tasks or {}).items():
        said = task["predicted"]
        rows.append(
            f"| {name} | {said['value']:.3f} | {said['low']:.3f} to {said['high']:.3f} | {task['measured']:.3f} | "
            f"{task['error_pct']:+.1f} % |"
        )
    return "\n".join([*head, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rungs", type=int, default=5)
    parser.add_argument("--budget", type=float, default=40.0, help="minutes of all trainings together")
    parser.add_argument("--documents", type=int, default=400, help="held-out documents that the loss is measured on")
    parser.add_argument("--items", type=int, default=0, help="of each task that every size is asked; 0 asks none")
    parser.add_argument("--home", type=Path, help="a folder for artifacts; the usual one when not given")
    parser.add_argument("--keep", action="store_true", help="write the record and the picture")
    given = parser.parse_args()
    report = scale(
        "cria",
        rungs=given.rungs,
        budget=given.budget,
        documents=given.documents,
        items=given.items,
        home=given.home,
    )
    figures = {name: report[name] for name in FIGURES if name in report}
    if given.keep:
        keep("training/ladder", figures, rounds=report["rungs"], seed=0)
        shutil.copyfile(Path(report["folder"]) / "scaling.png", ROOT / "docs" / "pictures" / "ladder.png")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
