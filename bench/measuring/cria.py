"""The first thing that a newcomer runs: raw text to a signed release, what was predicted of it and what came out.

    python bench/measuring/cria.py [--budget 10] [--seeds 0] [--keep]

Each seed is `ayllu run cria` in a process and a home of its own, with nothing made before; archives that the machine
has already are not fetched again. The prediction of bits per byte rests on constants that were fitted to runs of this
recipe on this text.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from keep import keep

TITLES = {
    "seconds": "pretraining, seconds",
    "bits_per_byte": "held-out bits per byte of everyday English, pretrained",
}


def run(seed: int, budget: float) -> dict[str, Any]:
    """One run from nothing: its report, the released model's scores, and what it took."""
    with tempfile.TemporaryDirectory() as home:
        options = ["--budget", f"{budget:g}", "--seed", str(seed), "--home", home, "--json"]
        began = time.monotonic()
        made = subprocess.Popen(
            [sys.executable, "-m", "ayllu.cli", "run", "cria", *options], stdout=subprocess.PIPE, text=True
        )
        assert made.stdout is not None
        told = made.stdout.read()
        _, status, used = os.wait4(made.pid, 0)  # of this run alone
        made.returncode = os.waitstatus_to_exitcode(status)
        if made.returncode:
            raise SystemExit(f"the run with seed {seed} failed")
        seconds, report = time.monotonic() - began, json.loads(told)
        stages = {name: Path(folder) for name, folder in report["stages"].items()}
        measured = json.loads((stages["evaluate"] / "scores.json").read_text(encoding="utf-8"))
        manifest = json.loads((stages["pretrain"] / "manifest.json").read_text(encoding="utf-8"))
    return {
        "seed": seed,
        "minutes": seconds / 60,
        "peak_memory_mib": used.ru_maxrss / 1024,
        **{side: report[side] for side in ("predicted", "measured")},
        "pretraining": manifest["record"],
        "scores": [score for score in measured["scores"] if score["mode"] == "rank"],
        "bits_per_byte": measured["bits_per_byte"],
    }


def figures(rounds: list[dict[str, Any]], budget: float) -> dict[str, Any]:
    """What the table shows."""
    kept = ("seed", "minutes", "peak_memory_mib", "predicted", "measured", "scores", "bits_per_byte")
    return {"budget": budget, "runs": [{name: each[name] for name in kept} for each in rounds]}


def table(shown: Mapping[str, Any]) -> str:
    """Predicted beside measured for each run, then the released model's scores."""
    lines = ["| seed | | predicted | measured |", "|---|---|---|---|"]
    for run in shown["runs"]:
        for name, title in TITLES.items():
            digits = 0 if name == "seconds" else 3
            lines.append(
                f"| {run['seed']} | {title} | {run['predicted'][name]:.{digits}f} "
                f"| **{run['measured'][name]:.{digits}f}** |"
            )
        lines.append(
            f"| {run['seed']} | from nothing to the release, minutes; memory, GiB | "
            f"| {run['minutes']:.1f}; {run['peak_memory_mib'] / 1024:.1f} |"
        )
    lines += ["", "| seed | of the released model | 95 % | guessing | items or documents |", "|---|---|---|---|---|"]
    for run in shown["runs"]:
        for source, bits in run["bits_per_byte"].items():
            value, low, high = (f"{bits[bound]:.3f}" for bound in ("value", "low", "high"))
            lines.append(
                f"| {run['seed']} | {source}: {value} bits per byte | {low} to {high} | | {bits['documents']:,} |"
            )
        for score in run["scores"]:
            value, low, high, chance = (f"{100 * score[name]:.1f}" for name in ("value", "low", "high", "chance"))
            told = f"{score['name']}: {value} % right | {low} to {high} | {chance} %"
            lines.append(f"| {run['seed']} | {told} | {score['n']:,} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=10.0, help="minutes of pretraining")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--keep", action="store_true", help="write bench/records/training/cria.json")
    given = parser.parse_args()
    rounds = [run(seed, given.budget) for seed in given.seeds]
    shown = figures(rounds, given.budget)
    print(table(shown))
    if given.keep:
        keep("training/cria", shown, rounds=rounds)


if __name__ == "__main__":
    main()
