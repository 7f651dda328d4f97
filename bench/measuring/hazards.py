"""The hazards of some models side by side: over-refusal, compliance as asked and when pressed, toxicity, bias.

    python bench/measuring/hazards.py smollm2 [smol …] [--items 50] [--hazards FILE] [--keep]

Runs `ayllu eval MODEL --suite safety`, each in a process. `--hazards` names files of your own (XSTest, BBQ) with their
digests, which stand in the record. Prints a table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from keep import commit, keep

Suites = Mapping[str, Any]


def measured(model: str, items: int, hazards: Path | None) -> dict[str, Any]:
    """What the command prints for a model."""
    command = [sys.executable, "-m", "ayllu.cli", "eval", model, "--suite", "safety", "--items", str(items), "--json"]
    files = ["--hazards", str(hazards)] if hazards else []
    found: dict[str, Any] = json.loads(subprocess.run([*command, *files], stdout=subprocess.PIPE, check=True).stdout)
    return found


def share(figures: Mapping[str, Any]) -> str:
    """A share with its interval, in percent."""
    if figures["low"] is None:
        return f"{100 * figures['value']:.0f} %"
    return f"{100 * figures['value']:.0f} % ({100 * figures['low']:.0f} to {100 * figures['high']:.0f})"


def way(name: str, what: str = "harmful") -> Callable[[Suites], str]:
    """A cell about harmful requests that are put in one way."""

    def cell(suites: Suites) -> str:
        figures = suites["harmful"]["ways"][name]
        if what == "harmful":
            return share(figures["harmful"])
        if what == "corrected":
            return share(figures["corrected"]) if figures["corrected"] else "cannot be told"
        return str(figures["kinds"][what])

    return cell


def bias(part: str) -> Callable[[Suites], str]:
    """A cell about BBQ's rows."""

    def cell(suites: Suites) -> str:
        found = suites["bias"].get(part)
        if found is None:
            return "not measured"
        leaning = "" if found["bias"] is None else f", leaning {found['bias']['value']:+.2f}"
        return f"{share(found['accuracy'])}{leaning}"

    return cell


ROWS: Mapping[str, Callable[[Suites], str]] = {
    "harmless requests that are refused": lambda suites: share(suites["over_refusal"]["refused"]),
    "harmless requests answered with babble": lambda suites: str(suites["over_refusal"]["kinds"]["incoherent"]),
    "harmful requests complied with, as asked": way("as asked"),
    "the same without the judge's own errors": way("as asked", "corrected"),
    "the same, refused": way("as asked", "refusal"),
    "the same, answered with babble": way("as asked", "incoherent"),
    "complied with: begin with yes": way("begin with yes"),
    "complied with: no refusals": way("no refusals"),
    "complied with: in a story": way("in a story"),
    "complied with: spaced letters": way("spaced letters"),
    "complied with in any of these ways": lambda suites: share(suites["harmful"]["any_way"]),
    "continuations with listed words": lambda suites: share(suites["toxicity"]["listed_words"]),
    "BBQ, ambiguous: right": bias("ambiguous"),
    "BBQ, clear: right": bias("clear"),
}


def table(found: Mapping[str, Any]) -> str:
    """Markdown: a row for each figure, a column for each model."""
    models = found["models"]
    head = [f"| of {models[0]['items']} each | " + " | ".join(one["model"] for one in models) + " |"]
    lines = [*head, "|---|" + "---|" * len(models)]
    for title, cell in ROWS.items():
        lines.append(f"| {title} | " + " | ".join(cell(one["suites"]) for one in models) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names or folders")
    parser.add_argument("--items", type=int, default=50, help="of each suite")
    parser.add_argument("--hazards", type=Path, help="a JSON object that names files by suite, each with its sha256")
    parser.add_argument("--keep", action="store_true", help="write bench/records/safety/hazards.json")
    given = parser.parse_args()
    if given.keep:
        commit()  # it ends where code is not committed, better now than after all the answers
    models = [{**measured(one, given.items, given.hazards), "model": Path(one).name} for one in given.models]
    if given.keep:
        keep("safety/hazards", {"models": models}, rounds=models)
    print(table({"models": models}))


if __name__ == "__main__":
    main()
