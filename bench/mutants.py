"""How many small faults the tests find: `make mutants`, or `python bench/mutants.py [--rooms data text] [--sample 30]`.

mutmut changes one thing at a time in the rooms that `[tool.mutmut]` in pyproject.toml names, and runs the tests that
reach it. All its mutants take days: a seeded sample of each room is run, and the share that some test kills is printed
with Wilson's interval and the change of every survivor. A mutant that no test reaches has survived.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path

from ayllu.evals.statistics import wilson

ROOT = Path(__file__).parents[1]
ROOMS = {
    "evals": "ayllu/evals",
    "release": "ayllu/release",
    "data": "ayllu/data",
    "text": "ayllu/text",
    "planner": "ayllu/fleet/planner",
}
FEWEST = "ayllu.evals.skills.tool_calls.*"
"""A file with few mutants: running them makes all others, and learns which tests reach which."""
SURVIVED, UNREACHED, SKIPPED = 0, 33, 34
"""mutmut's codes of what is not a kill (`mutmut/models/results.py`); a time-out is one, since a hang is seen."""


def mutmut(*words: str, quiet: bool = False) -> str:
    command = [sys.executable, "-m", "mutmut", *words]
    (ROOT / "mutants" / "src").mkdir(parents=True, exist_ok=True)  # or Python leaves it out of its path
    paths = os.pathsep.join(filter(None, [str(ROOT / "mutants" / "src"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE if quiet else None, text=True
    )
    if done.returncode:
        raise SystemExit(f"mutmut {words[0]} ended with {done.returncode}; are the tests green?")
    return done.stdout or ""


def verdicts(folder: str) -> dict[str, int | None]:
    """The mutants of a room by name, and the code of each that has been run."""
    found: dict[str, int | None] = {}
    for path in sorted((ROOT / "mutants" / "src" / folder).rglob("*.meta")):
        found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def drawn(folder: str, size: int, seed: int) -> list[str]:
    names = sorted(verdicts(folder))
    return random.Random(f"{folder}/{seed}").sample(names, min(size, len(names)))


def report(room: str, names: list[str]) -> None:
    codes = verdicts(ROOMS[room])
    tried = {name: codes[name] for name in names if codes[name] not in (None, SKIPPED)}
    alive = sorted(name for name, code in tried.items() if code in (SURVIVED, UNREACHED))
    share = wilson(len(tried) - len(alive), len(tried))
    print(
        f"\n{room}: {len(tried) - len(alive)} of {len(tried)} killed, {100 * share.value:.0f} % "
        f"({100 * share.low:.0f} to {100 * share.high:.0f}); drawn from {len(codes):,}"
    )
    for name in alive:
        print(f"\n{name}{' (no test reaches it)' if tried[name] == UNREACHED else ''}")
        changes = mutmut("show", name, quiet=True).splitlines()
        print("\n".join(line for line in changes if line[:1] in "+-@" and line[:3] not in ("+++", "---")))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS))
    parser.add_argument("--sample", type=int, default=30, help="mutants of each room")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if not (ROOT / "mutants" / "mutmut-stats.json").exists():
        mutmut("run", FEWEST)
    samples = {room: drawn(ROOMS[room], chosen.sample, chosen.seed) for room in chosen.rooms}
    mutmut("run", *(name for names in samples.values() for name in names))
    for room, names in samples.items():
        report(room, names)


if __name__ == "__main__":
    main()
