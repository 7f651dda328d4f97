"""How far the planner's step times are from those of published runs, by what was left out of the fit.

    python bench/planner.py [--keep]

What `ayllu fleet validate` computes, as one table, how often the interval of plans holds, and what a few runs of one's
own are worth: of every source with at least eight rows so many are drawn (by seed 0, ten times), the others predicted.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from keep import keep

from ayllu.fleet.validation.fit import fit_constants
from ayllu.fleet.validation.held_out import by_software, by_source
from ayllu.fleet.validation.measured_runs import packaged_runs
from ayllu.fleet.validation.own_runs import curve
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
OWN_ROWS, DRAWS = (0, 1, 3, 5), 10


def figures() -> tuple[dict[str, Any], Any]:
    """The errors by protocol with the regret of the layout that is picked, and the errors of each source."""
    report = validate()
    own = {name: getattr(report, name) for name in ("rows", "median_abs_error_pct", "p90_abs_error_pct")}
    errors = report.other_protocols | {report.protocol: own, "constant MFU": report.baseline}
    told = {"errors": {name: errors[name] for name in TITLES}, "plan_regret_pct": report.plan_regret_pct}
    told |= {"groups": len(report.groups), "own_runs": own_runs(), "inferred": report.inferred}
    told["interval"] = {
        "leave-one-source-out": {"coverage_pct": report.coverage_pct, "winkler": report.winkler},
        "leave-one-family-out": {
            name: report.other_protocols["leave-one-family-out"][name] for name in ("coverage_pct", "winkler")
        },
    }
    rounds = {"by_source": report.by_source, "by_source_unseen": report.by_source_unseen}
    return told, rounds | {"groups": [asdict(group) for group in report.groups]}


def own_runs() -> dict[str, dict[str, dict[str, float]]]:
    """Errors on a source's other rows with 0, 1, 3 and 5 of its rows given, by what was left out of the fit."""
    table = packaged_runs()
    found = {}
    for protocol, label in (("leave-one-source-out", by_source), ("leave-one-family-out", by_software)):
        labels = np.array([label(run) for run in table.runs])
        errors = curve(lambda held: fit_constants(table.take(~held)), table, labels, OWN_ROWS, DRAWS)
        found[protocol] = {
            str(rows): {name: round(float(np.quantile(error, at)), 2) for name, at in (("median", 0.5), ("p90", 0.9))}
            for rows, error in errors.items()
        }
    return found


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
    told = "\n".join([*head, *rows]) + regret
    return told + _intervals(figures) + _own(figures) if "own_runs" in figures else told  # a record older than own runs


def _intervals(figures: Mapping[str, Any]) -> str:
    told = (
        f"{found['coverage_pct']:.0f} % of the runs with {TITLES[name]} (Winkler score of the logarithm "
        f"{found['winkler']:.2f})"
        for name, found in figures["interval"].items()
    )
    return f"\n\nThe 80 % interval that plans print holds {' and '.join(told)}."


def _own(figures: Mapping[str, Any]) -> str:
    """What own runs are worth, as a second table."""
    rows = [
        f"| {TITLES[name]} | "
        + " | ".join(f"{found['median']:.1f}, {found['p90']:.1f} %" for found in each.values())
        + " |"
        for name, each in figures["own_runs"].items()
    ]
    heads = " | ".join(f"{count} own runs" for count in OWN_ROWS)
    head = [f"| median and 90th percentile of the error, and {heads} |", "|---" * (1 + len(OWN_ROWS)) + "|"]
    return "\n\n" + "\n".join([*head, *rows]).replace("error, and", "error |").replace(" 1 own runs", " 1 own run")


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
