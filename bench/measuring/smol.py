"""The whole recipe smol by seeds: each skill before, after the sums and at the end, and whether it was released.

    python bench/measuring/smol.py --seeds 330 331 [--budget 45] [--keep]

A seed that `ayllu run smol` has finished in the same home (`AYLLU_HOME`) is read, any other is run. With `--keep` the
seeds that the record has already stay in it, each with its commit, day and processor: eight take a day.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from keep import RECORDS, commit, keep

SHOWN = (
    ("tool_calls exact", "calls of 12 tools never trained on, exactly right (development set)"),
    ("strangers_calls exact", "calls of strangers' tools exactly right (intervals by tool)"),
    ("reasoning correct", "sums of one digit right"),
    ("long_sums correct", "sums of two and three digits right"),
)
"""Rows of the comparison, and what a table calls them."""
BETWEEN, FINAL = "adopted to after sums", "adopted to final"


def run(seed: int, budget: float, *, at: str) -> dict[str, Any]:
    """One run of the recipe, made or found: the comparison, every verdict, what was planned and how long it took.

    `at` is the commit of the code.
    """
    from ayllu.data.archive import default_cache
    from ayllu.lab.error import UserError
    from ayllu.lab.graph import order
    from ayllu.lab.run import Place, resolve
    from ayllu.lab.store import Store, default_home
    from ayllu.recipes.smol import smol

    place = Place(store=Store(default_home()), cache=default_cache())
    release = smol(seed=seed, budget=budget)
    nodes = order(release)
    refused = None
    try:
        resolve(release, place)
    except UserError as error:
        refused = str(error)
    made = resolve(next(node for node in nodes if node.stage.identity == "compare"), place)
    stages = {node: artifact.manifest for node, artifact in made.items()}
    own = [manifest for node, manifest in stages.items() if node.stage.identity != "adopt"]
    record = {manifest["stage"]: manifest["record"] for manifest in own}
    return {
        "seed": seed,
        "budget": budget,
        "made": {"commit": at, **_made(own)},
        "released": refused is None,
        "refused": refused,
        "minutes": math.fsum(manifest["seconds"] for manifest in own) / 60,
        "plan": record["plan_post"]["plan"],
        "choice": record["better"]["choice"],
        "comparison": record["compare"]["comparison"],
        "verdicts": [_verdicts(artifact.folder) for node, artifact in made.items() if node.stage.identity == "skills"],
    }


def _made(manifests: list[Mapping[str, Any]]) -> dict[str, str]:
    """On which processor a run was made, and when it ended."""
    last = max(manifests, key=lambda manifest: manifest["finished"])
    return {"date": last["finished"][:10], "processor": last["machine"]["processor"]}


def _verdicts(folder: Path) -> dict[str, str]:
    """Of each kind of item which replies were right, in their order, as digits."""
    rows = json.loads((folder / "replies.json").read_text(encoding="utf-8"))
    names = dict(name.split() for name, _ in SHOWN)
    return {kind: "".join(str(int(row[names[kind]])) for row in found) for kind, found in rows.items()}


def figures(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """What the table shows of each run."""
    rows = []
    for each in rounds:
        comparison = each["comparison"]
        steps = {name: comparison["skills"][name] for name, _ in SHOWN}
        rows.append(
            {
                "seed": each["seed"],
                "minutes": each["minutes"],
                "released": each["released"],
                "kept": each["choice"]["kept"],
                "skills": steps,
                "pooled": comparison["pooled"],
                "made": each["made"],
            }
        )
    return {"runs": rows}


def table(shown: Mapping[str, Any]) -> str:
    """Markdown: a row for each skill of each run."""
    lines = [
        "| seed | | items | adopted | after the sums | final | final less adopted, points |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in shown["runs"]:
        for name, title in SHOWN:
            steps = row["skills"][name]
            final, between = steps[FINAL], steps.get(BETWEEN)
            middle = f"{100 * between['after']['value']:.1f} %" if between else ""
            lines.append(
                f"| {row['seed']} | {title} | {final['items']:,} | {100 * final['before']['value']:.1f} % | {middle} "
                f"| {100 * final['after']['value']:.1f} % | {_points(final)} |"
            )
        pooled = row["pooled"]
        ends = "released" if row["released"] else "refused by its gate"
        state = "after" if row["kept"] == "after" else "before"
        lines.append(
            f"| {row['seed']} | three benchmarks together (compared as if unpaired, as lm-eval 0.4.13 does: "
            f"{_unpaired(pooled)}); the state {state} GRPO went on; {row['minutes']:.0f} minutes; {ends}; "
            f"at {row['made']['commit']} on {row['made']['date']}, {row['made']['processor']} "
            f"| {pooled['items']:,} | {100 * pooled['before']['value']:.1f} % | "
            f"| {100 * pooled['after']['value']:.1f} % | {_points(pooled)} |"
        )
    return "\n".join(lines)


def _unpaired(row: Mapping[str, Any]) -> str:
    """The 95 % interval that lm-evaluation-harness's `scripts/model_comparator.py` gives of the same answers."""
    before, after = (row[side]["value"] for side in ("before", "after"))
    error = math.sqrt((before * (1 - before) + after * (1 - after)) / (row["items"] - 1))
    low, high = (100 * (after - before + side * 1.96 * error) for side in (-1, 1))
    return f"{low:.1f} to {high:.1f}"


def _points(row: Mapping[str, Any]) -> str:
    difference = row["difference"]
    value, low, high = (100 * difference[bound] for bound in ("value", "low", "high"))
    return f"{value:+.1f} ({low:.1f} to {high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--budget", type=float, default=45.0, help="minutes of each run")
    parser.add_argument("--keep", action="store_true", help="write bench/records/smol.json")
    given = parser.parse_args()
    at = commit()[:7] if given.keep else "a tree of now"
    rounds = [run(seed, given.budget, at=at) for seed in given.seeds]
    print(table(figures(rounds)))
    if given.keep:
        rounds = sorted([*kept_rounds(given.seeds), *rounds], key=lambda one: one["seed"])
        keep("smol", figures(rounds), rounds=rounds)


def kept_rounds(but: list[int], path: Path = RECORDS / "smol.json") -> list[dict[str, Any]]:
    """Of the record the runs of other seeds."""
    rounds = json.loads(path.read_text(encoding="utf-8"))["rounds"] if path.is_file() else []
    return [each for each in rounds if each["seed"] not in but]


if __name__ == "__main__":
    sys.exit(main())
