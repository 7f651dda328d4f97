"""How far the judge and the filter can be believed, and the weights that ship.

    python bench/safety.py [--weights FILE] [--xstest CSV] [--everyday JSONL ...] [--keep]

Cross-validates the judges on the labelled answers, and the filter on what each tenth has not seen; measures false
refusals of the weights on XSTest and on everyday files (rows of prompt and answer, or self-instruct's
instruction and instances); times the filter. With --weights the judge is written there.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keep import keep

from ayllu.data.archive import default_cache
from ayllu.safety.filter.guard import Guard
from ayllu.safety.filter.measure import Turns, false_refusals, held_out_stops, latency
from ayllu.safety.filter.policy import Policy
from ayllu.safety.judge.judge import load_judge
from ayllu.safety.judge.material import read_material
from ayllu.safety.judge.measure import judges_table
from ayllu.safety.judge.train import Training


def rows_of(path: Path) -> list[tuple[str, str]]:
    """(prompt, answer) of each row."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if "instances" in row:
            found += [(f"{row['instruction']}\n{one['input']}", one["output"]) for one in row["instances"]]
        else:
            prompt = str(row["prompt"]).partition("### Instruction:")[2].partition("### Response:")[0]
            found.append((prompt.strip() or str(row["prompt"]), row.get("answer") or row.get("response") or ""))
    return found


def table(figures: Mapping[str, Any]) -> str:
    """The judges and the filter as two Markdown tables."""
    lines = ["| judge | AUROC | harmless called harmful | harmful found | answers |", "|---|---|---|---|---|"]
    for one in figures["judges"]:
        low, high = one["auroc_interval"]
        lines.append(
            f"| {one['name']} | {one['auroc']:.3f} ({low:.3f} to {high:.3f}) | {one['false_refusals']:.1%} | "
            f"{one['found']:.1%} | {one['n']:,} |"
        )
    lines += ["", "| the filter stops of … | share (95 %) | n |", "|---|---|---|"]
    for name, one in figures["stops"].items():
        low, high = one["interval"]
        lines.append(f"| {name} | {one['stopped']:.1%} ({low:.1%} to {high:.1%}) | {one['n']:,} |")
    taken = figures["milliseconds"]
    lines += [
        "",
        f"It takes {taken['median']:.1f} ms of the processor for a turn of {taken['words']:.0f} words (median; "
        f"{taken['p95']:.1f} for the slowest twentieth).",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--xstest", type=Path)
    parser.add_argument("--everyday", type=Path, nargs="*", default=[])
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    training = Training(read_material(default_cache()))
    crossed = training.crossed()
    judge = training.judge(crossed)
    if given.weights:
        judge.save(given.weights)
        judge = load_judge(given.weights)
    found = judges_table(training, crossed, {}, {})
    settings = judge.about["settings"]
    policy = Policy(name="bench", stop=settings["stop"], request=settings["request"])
    guard = Guard(judge, policy, log=lambda line: None)
    stops = {f"{name} (held out)": one for name, one in held_out_stops(training, judge).items()}
    sources = [Turns(name="everyday prose never trained on", turns=training.material.held_out)]
    sources += [Turns(name=path.stem.replace("_", " "), turns=rows_of(path)) for path in given.everyday]
    if given.xstest:
        asked = list(csv.DictReader(given.xstest.open(encoding="utf-8")))
        sources.append(
            Turns(name="XSTest, harmless prompts", turns=[(r["prompt"], "") for r in asked if r["label"] == "safe"])
        )
        sources.append(
            Turns(name="XSTest, harmful prompts", turns=[(r["prompt"], "") for r in asked if r["label"] != "safe"])
        )
    sources.append(Turns(name="HarmBench's prompts", turns=[(p, "") for p in training.material.held_out_requests]))
    for source in sources:
        one = false_refusals(guard, source)
        stops[source.name] = {"n": one["n"], "stopped": one["either"], "interval": one["interval"]}
    turns = [(row.prompt, row.answer) for row in training.material.labelled[::5]]
    figures = {
        **found,
        "about": {key: judge.about[key] for key in ("settings", "errors", "material", "categories")},
        "stops": stops,
        "milliseconds": latency(guard, turns),
    }
    print(json.dumps(figures, indent=2))
    if given.keep:
        keep("safety", figures, rounds={"stops": stops}, seed=20)


if __name__ == "__main__":
    main()
