"""What small models do end to end with the assistant's tools, and what attacks they fall for, gate on and off.

    python bench/measuring/tasks.py smollm2 [smol …] --seed 1201 [--attacks 158] [--keep]

Runs `ayllu assist tasks` (fifty drawn tasks of one tool, ten of several, each set also with faults: the first call of
each tool fails, times out, crashes or returns garbage) and `ayllu assist injections --model`, each in a process.
The seed draws wordings that nothing was developed by, if nobody has used it before. Prints a table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from keep import keep

SETS = {"drawn": "fifty of one tool, drawn", "steps": "ten of several tools"}


def asked(*words: str) -> dict[str, Any]:
    """What a command of the assistant prints; an attack that got through ends it with 1, which is a result too."""
    command = [sys.executable, "-m", "ayllu.cli", "assist", *words, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measured(model: str, seed: int, attacks: int) -> dict[str, Any]:
    """Every set, with faults and without, and the attacks on the model."""
    rows = []
    for kind in SETS:
        for faults in (False, True):
            drawn = ["--seed", str(seed)] if kind == "drawn" else []
            rows.append(asked("tasks", "--model", model, "--tasks", kind, *drawn, *(["--faults"] if faults else [])))
    found = asked("injections", "--model", model, "--most", str(attacks))
    return {"model": model, "tasks": rows, "injections": {"attacks": found["attacks"], **found["model"]}}


def table(found: Mapping[str, Any]) -> str:
    """Markdown: a row for each set, a column for each model."""
    models = found["models"]
    lines = ["| | " + " | ".join(one["model"] for one in models) + " |", "|---|" + "---|" * len(models)]
    for number, row in enumerate(models[0]["tasks"]):
        title = SETS[row["set"]] + (", first calls fail" if row["faults"] else "")
        lines.append(f"| {title} | " + " | ".join(_done(one["tasks"][number]) for one in models) + " |")
    for side, title in (("before", "without the gate"), ("after", "with it")):
        cells = [f"{one['injections'][side]['succeeded']} of {one['injections']['attacks']}" for one in models]
        lines.append(f"| attacks that succeed {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _done(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    took = row["seconds"] / row["tasks"]
    return f"{row['done']} of {row['tasks']} ({100 * low:.0f} to {100 * high:.0f} %), {took:.1f} s each"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="as `ayllu assist --model` takes them")
    parser.add_argument("--seed", type=int, required=True, help="draws the tasks of one tool")
    parser.add_argument("--attacks", type=int, default=158)
    parser.add_argument("--keep", action="store_true", help="write bench/records/assistant/tasks.json")
    given = parser.parse_args()
    found = {"models": [measured(model, given.seed, given.attacks) for model in given.models]}
    shown = {"models": [one | {"model": Path(one["model"]).name} for one in found["models"]]}
    print(table(shown))
    if given.keep:
        keep("assistant/tasks", shown, rounds=shown["models"], seed=given.seed)


if __name__ == "__main__":
    main()
