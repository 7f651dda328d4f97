"""How long `ayllu --help` takes, beside an interpreter that does nothing and an older checkout, in turns in one run.

    python bench/startup.py [--runs 15] [--old FOLDER] [--keep]

Prints one JSON object, and keeps a record of it: medians in seconds, and each median over that of `python -c pass`.
Processor seconds stand beside those of the clock, which other programs lengthen. FOLDER is a checkout of an earlier
commit.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keep import keep

HELP = ("-m", "ayllu.cli", "--help")


def measure(words: tuple[str, ...], source: Path | None) -> tuple[float, float]:
    """Seconds of one start of this interpreter with `words`, by the clock and of the processor."""
    environment = os.environ | ({"PYTHONPATH": str(source)} if source else {})
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], env=environment, stdout=subprocess.DEVNULL, check=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table(figures: Mapping[str, Any]) -> str:
    """The starts as a Markdown table."""
    rows = [
        f"| `{name}` | {start['seconds']:.3f} | {start['processor_seconds']:.3f} | {start['times_pass']:.1f} |"
        for name, start in figures["starts"].items()
    ]
    head = ["| | seconds | of the processor | times an empty interpreter |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="starts of each, after one that is not counted")
    parser.add_argument("--old", type=Path, help="a checkout of an earlier commit")
    parser.add_argument("--keep", action="store_true", help="write bench/records/startup.json")
    given = parser.parse_args()
    here = Path(__file__).resolve().parents[1] / "src"
    contenders: dict[str, tuple[tuple[str, ...], Path | None]] = {
        "python -c pass": (("-c", "pass"), None),
        "import cyclopts": (("-c", "import cyclopts"), None),
        "ayllu --help": (HELP, here),
        "import ayllu": (("-c", "import ayllu"), here),
    }
    if given.old:
        contenders["ayllu --help, old"] = (HELP, given.old.resolve() / "src")
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for turn in range(given.runs + 1):
        for name, (words, source) in contenders.items():
            taken = measure(words, source)
            if turn:
                times[name].append(taken)
    medians = {name: [statistics.median(each) for each in zip(*taken, strict=True)] for name, taken in times.items()}
    nothing = medians["python -c pass"]
    report = {
        name: {
            "seconds": round(clock, 3),
            "processor_seconds": round(used, 3),
            "times_pass": round(clock / nothing[0], 1),
            "times_pass_processor": round(used / nothing[1], 1),
        }
        for name, (clock, used) in medians.items()
    }
    found = {"runs": given.runs, "python": sys.version.split()[0], "starts": report}
    if given.keep:
        keep("startup", found, rounds=times)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
