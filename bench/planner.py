"""How far the planner's step times are from those of published runs, by what was left out of the fit.

    python bench/planner.py [--keep]

What `ayllu fleet validate` computes, as one table: nothing is drawn, so that it comes out the same everywhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from keep import keep

from ayllu.fleet.validation.validate import validate

TITLES = {
    "leave-one-family-out": "the same software left out",
    "leave-one-source-out": "the same source left out",
    "software known from another source": "… of which the software is known from another source",
    "software of no other source": "… of which it is not",
    "constant MFU": "a constant MFU, fitted on the other sources",
    "in-sample": "nothing left out",
}
"""Protocols in the order of the table, and what it calls them."""


def figures() -> tuple[dict[str, Any], Any]:
    """The errors by protocol with the regret of the layout that is picked, and the errors of each source."""
    report = validate()
    own = {name: getattr(report, name) for name in ("rows", "median_abs_error_pct", "p90_abs_error_pct")}
    errors = report.other_protocols | {report.protocol: own, "constant MFU": report.baseline}
    told = {"errors": {name: errors[name] for name in TITLES}, "plan_regret_pct": report.plan_regret_pct}
    return told | {"groups": len(report.groups)}, report.by_source | {"groups": [asdict(g) for g in report.groups]}


def table(figures: Mapping[str, Any]) -> str:
    """The errors as a Markdown table."""
    rows = []
    for name, found in figures["errors"].items():
        median, tenth = (f"{found[f'{part}_abs_error_pct']:.1f} %" for part in ("median", "p90"))
        rows.append(f"| {TITLES[name]} | {found['rows']} | {median} | {tenth} |")
    head = ["| predicted with constants fitted with … | runs | error, median | 90th percentile |", "|---|---|---|---|"]
    regret = (
        f"\n\nThe layout that is picked is {figures['plan_regret_pct']:.1f} % slower than the best that was measured "
        f"(mean of {figures['groups']} groups)."
    )
    return "\n".join([*head, *rows]) + regret


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="write bench/records/planner.json")
    given = parser.parse_args()
    found, rounds = figures()
    if given.keep:
        keep("planner", found, rounds=rounds)
    print(table(found))


if __name__ == "__main__":
    main()
