"""What pairing finds and an unpaired comparison misses, on what two models answered to the same items.

    python bench/measuring/unpaired.py FOLDER FOLDER

FOLDERs are what `ayllu eval … --out` wrote: profiles or scores. Beside McNemar's exact test stands the z-test of
lm-evaluation-harness 0.4.13 (`scripts/model_comparator.py`): the difference of two accuracies over the square root of
the sum of their squared standard errors, as if the models had been asked different items.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist

from ayllu.evals.statistics import mcnemar


def verdicts(folder: Path) -> dict[str, dict[str, bool]]:
    """Set or row to what each item gave."""
    found: dict[str, dict[str, bool]] = {}
    for line in (folder / "items.jsonl").read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        name = item.get("set") or f"{item['row']} ({item['mode']})"
        right = item.get("solved", item.get("correct_norm"))
        found.setdefault(name, {})[f"{item['id']} {item['digest']}"] = bool(right)
    return found


def unpaired_p(first: Mapping[str, bool], second: Mapping[str, bool]) -> float:
    """Two-sided p of the z-test, with the sample variance over n as each squared error."""
    n = len(first)
    shares = [sum(side.values()) / n for side in (first, second)]
    error = math.sqrt(sum(share * (1 - share) / (n - 1) for share in shares))
    return 2 * NormalDist().cdf(-abs(shares[1] - shares[0]) / error) if error else 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs=2, type=Path)
    one, other = (verdicts(folder) for folder in parser.parse_args().folders)
    print("| set | items | difference | p, paired | p, as lm-eval compares | only pairing finds it |")
    print("|---|---|---|---|---|---|")
    for name in sorted(one.keys() & other.keys()):
        first, second = one[name], other[name]
        if first.keys() != second.keys():
            print(f"| {name} | not the same items | | | | |")
            continue
        losses = sum(first[key] and not second[key] for key in first)
        gains = sum(second[key] and not first[key] for key in first)
        paired, apart = mcnemar(losses, gains), unpaired_p(first, second)
        found = "yes" if paired < 0.05 <= apart else ""
        points = 100 * (gains - losses) / len(first)
        print(f"| {name} | {len(first):,} | {points:+.1f} points | {paired:.3g} | {apart:.3g} | {found} |")


if __name__ == "__main__":
    main()
