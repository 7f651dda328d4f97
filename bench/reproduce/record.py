"""What a reproduction found, beside what was published: printed, or recorded for `ayllu fleet simulate`.

The package holds the recorded runs (`src/ayllu/fleet/data/scenarios.json`), so that its scenarios answer without this
folder; `--record` writes them again.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ayllu.fleet.simulate.prediction_interval import PredictionInterval
from ayllu.fleet.simulate.scenario import ReproducedFigure

SCENARIOS = Path(__file__).parents[2] / "src" / "ayllu" / "fleet" / "data" / "scenarios.json"


@dataclass(frozen=True, kw_only=True)
class Target:
    """One published figure, and what each simulated run found for it."""

    figure: str
    published: float
    source: str
    values: list[float]

    def reproduced(self) -> ReproducedFigure:
        return ReproducedFigure(
            figure=self.figure,
            published=self.published,
            simulated=PredictionInterval.of(self.values),
            source=self.source,
        )


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """All figures and targets of a scenario, one value for each seed."""

    figures: dict[str, list[float]]
    targets: list[Target]
    notes: list[str] = field(default_factory=list)


def main(scenarios: Mapping[str, tuple[Callable[[int], Reproduction], int]], words: list[str] | None = None) -> None:
    """Simulate the scenarios, each with its own number of seeds, and print or record what they found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, help="simulated runs; without it as many as are recorded")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="write what was found into the package")
    options = parser.parse_args(words)
    found = {name: run(options.seeds or usual) for name, (run, usual) in scenarios.items()}
    if options.record:
        _record(found)
    rows = [
        {"scenario": name} | target.reproduced().as_json()
        for name, reproduction in found.items()
        for target in reproduction.targets
    ]
    if options.json:
        print(json.dumps({"reproduction": rows}, indent=2))
        return
    print(f"{'scenario':12} {'figure':48} {'published':>10} {'simulated':>10}   95 % of runs")
    for row in rows:
        low, high = row["interval"]
        print(
            f"{row['scenario']:12} {row['figure']:48.48} {row['expected']:>10.4g} {row['simulated']:>10.4g}   "
            f"{low:.4g} to {high:.4g}"
        )


def _record(found: Mapping[str, Reproduction]) -> None:
    content: dict[str, Any] = json.loads(SCENARIOS.read_text(encoding="utf-8"))
    for entry in content["scenarios"]:
        if entry["name"] in found:
            reproduction = found[entry["name"]]
            entry["recorded"]["figures"] = reproduction.figures
            entry["recorded"]["seeds"] = len(next(iter(reproduction.figures.values())))
            entry["targets"] = [vars(target) for target in reproduction.targets]
            entry["notes"] = reproduction.notes
    text = json.dumps(content, indent=1, ensure_ascii=False)
    # Lists of numbers on one line each.
    text = re.sub(r"\[\s+([-\d.e+,\s]+?)\s+\]", lambda match: f"[{' '.join(match[1].split())}]", text)
    SCENARIOS.write_text(text + "\n", encoding="utf-8")
