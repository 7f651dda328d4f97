"""How long a spoken answer takes, stage by stage, without a language model and with one.

    python bench/glasses/latency.py [--turns 100] [--models none smollm2] [--keep]

Plays the turns of `ayllu glasses bench` in real time, about six seconds each, once for each model. Prints one JSON
object. It wants the machine for itself: whatever runs beside it is in its figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep


def played(model: str, turns: int) -> dict[str, Any]:
    """What the command prints."""
    command = [sys.executable, "-m", "ayllu.cli", "glasses", "bench", "--turns", str(turns), "--model", model, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    runs: Mapping[str, Any] = figures["models"]
    heads = [f"{'no model' if name == 'none' else name}, {which}" for name in runs for which in ("p50", "p95")]
    times = {name: run["voice_to_voice_ms"] for name, run in runs.items()}
    stages = list(next(iter(times.values()))["stages"])
    rows = {"voice to voice": list(times.values())}
    rows |= {stage: [one["stages"][stage] for one in times.values()] for stage in stages}
    lines = ["| milliseconds | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for name, values in rows.items():
        cells = [f"{value[which]:,.0f}" for value in values for which in ("p50", "p95")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    told = {
        "turns, of these unanswered": lambda run: f"{run['turns']}, {run['unanswered']}",
        "words misheard": lambda run: f"{100 * run['word_error_rate']:.1f} %",
        "false interruptions": lambda run: str(run["false_interruptions"]),
    }
    for name, tell in told.items():
        lines.append(f"| {name} | " + " | ".join(f"{tell(run)} | " for run in runs.values()).rstrip() + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--models", nargs="+", default=["none", "smollm2"])
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    found = {name: played(name, given.turns) for name in given.models}
    figures = {"models": found, "load_before": round(load, 2)}
    print(json.dumps(figures, indent=1))
    if given.keep:
        keep("glasses/latency", figures, rounds={name: run.pop("rounds", []) for name, run in found.items()}, seed=0)


if __name__ == "__main__":
    main()
