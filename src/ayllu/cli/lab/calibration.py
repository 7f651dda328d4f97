"""`ayllu calibration`: what was expected beside what came."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ayllu.cli.lab.shelf import open_store
from ayllu.cli.lab.storage import changing_store
from ayllu.cli.lab.words import table
from ayllu.cli.options import Home, Json, print_json, print_lines
from ayllu.lab.error import UserError
from ayllu.lab.integrity import shown
from ayllu.lab.shelf.forecasts import Forecast, all_forecasts, measure, unreadable
from ayllu.lab.shelf.index import entries


def calibration(
    *,
    measured: Annotated[str | None, Parameter(negative="")] = None,
    limit: int = 20,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show what was expected before runs beside what came, how often the intervals held, and how to correct.

    Parameters
    ----------
    measured
        Say what came of a forecast that no run here measures, as ID=VALUE, such as a plan's on a cluster.
    limit
        Forecasts to show on the terminal, the newest.
    """
    from ayllu.evals.calibration import calibration as summary

    if limit < 0:
        raise UserError(f"limit is {limit}; give 0 or more")
    if measured is not None:
        _measure(measured, home)
    store = open_store(home)
    found = all_forecasts(store, entries(store))
    report, wrong = summary(found), unreadable(store)
    if json:
        print_json({**report, "unreadable": wrong, "forecasts": [one.as_json() for one in found]})
        return
    if wrong:
        print_lines([f"left out, for they cannot be read: {wrong} of the lines of {store.home / 'forecasts.jsonl'}"])
    if not found:
        print_lines(["nothing was forecast yet: recipes write down what they expect before they run"])
        return
    rows = [_row(one) for one in found[len(found) - min(limit, len(found)) :]]
    if rows:
        print_lines(table(("id", "by", "what", "expected", "80 % interval", "came", "inside"), rows))
        print_lines([""])
    kinds = [
        (
            f"{kind['by']}: {kind['what']}",
            str(kind["measured"]),
            _number(kind["factor"]),
            _covered(kind),
        )
        for kind in report["kinds"]
    ]
    print_lines(table(("forecasts", "came", "multiply by", "inside the interval"), kinds))
    print_lines(
        [f"all: {_covered(report)}; {report['open']} still open, {report['without_interval']} without interval"]
    )


def _row(one: Forecast) -> tuple[str, ...]:
    interval = f"{_number(one.low)} to {_number(one.high)}" if one.low is not None else "-"
    inside = {True: "yes", False: "no", None: "-"}[one.inside]
    return one.id, one.by, one.what, _number(one.value), interval, _number(one.measured), inside


def _covered(share: dict[str, Any]) -> str:
    if not share["n"]:
        return "none yet"
    span = f"{share['coverage_low']:.0f} to {share['coverage_high']:.0f}"
    return f"{share['coverage_pct']:.0f} % of {share['n']} ({span}; 80 is right)"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"


def _measure(words: str, home: Path | None) -> None:
    id, _, text = words.partition("=")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"--measured {shown(words)} is no ID=VALUE; `ayllu calibration` shows the ids")
    store = changing_store(home)
    known = {one.id: one for one in all_forecasts(store, entries(store))}
    if id not in known:
        raise UserError(f"there is no forecast {shown(id)}; `ayllu calibration` shows the ids")
    if known[id].measured is not None:
        raise UserError(f"{known[id].measured:g} came of {id} already; what came once stays")
    measure(store, id, value)
