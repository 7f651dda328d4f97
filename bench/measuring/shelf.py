"""How long ten thousand results take to list, from a store that is made for it: `python bench/measuring/shelf.py`.

The first list reads every manifest, the others the index beside the store; each is a whole `ayllu list --json`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from support.shelf import many


def listed(home: Path, *options: str) -> tuple[float, float, int]:
    """Seconds, seconds of the processor and rows of one `ayllu list`."""
    command = [sys.executable, "-m", "ayllu.cli", "list", "--json", *options]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=True, env=os.environ | {"AYLLU_HOME": str(home)})
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, len(json.loads(done.stdout)["artifacts"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifacts", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        many(home, given.artifacts)
        first = listed(home)
        rows = [listed(home) for _ in range(given.runs)]
        report = {
            "artifacts": given.artifacts,
            "rows": rows[0][2],
            "first": {"seconds": round(first[0], 3), "cpu": round(first[1], 3)},
            "from the index": {
                "seconds": round(statistics.median(row[0] for row in rows), 3),
                "cpu": round(statistics.median(row[1] for row in rows), 3),
            },
        }
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
