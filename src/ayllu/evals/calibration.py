"""How good forecasts are: how often their intervals held, and the factor by which to correct them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from ayllu.evals.statistics import share_interval
from ayllu.lab.shelf.forecasts import LEVEL, Forecast


def calibration(found: Sequence[Forecast]) -> dict[str, Any]:
    """Over all forecasts of which something came.

    Returns {"level_pct": 80, "n", "coverage_pct", "coverage_low", "coverage_high" (None without any; 95 % interval of
    Wilson), "without_interval", "open" (nothing has come of them yet), "kinds": rows of the same by `by` and `what`,
    with "factor", the median of measured over expected, and "spread", the factor within which half lie around it}.
    """
    came = [one for one in found if one.measured is not None]
    kinds = []
    for by, what in sorted({(one.by, one.what) for one in came}):
        mine = [one for one in came if (one.by, one.what) == (by, what)]
        ratios = [one.ratio for one in mine if one.ratio is not None]
        factor = statistics.median(ratios) if ratios else None
        spread = math.exp(statistics.median(abs(math.log(r / factor)) for r in ratios)) if factor else None
        kinds.append(
            {"by": by, "what": what, "measured": len(mine), "factor": factor, "spread": spread, **_share(mine)}
        )
    return {
        "level_pct": round(100 * LEVEL),
        **_share(came),
        "without_interval": sum(one.inside is None for one in came),
        "open": len(found) - len(came),
        "kinds": kinds,
    }


def _share(found: Sequence[Forecast]) -> dict[str, Any]:
    inside = [one.inside for one in found if one.inside is not None]
    share = share_interval(inside) if inside else None
    if share is None:
        return {"n": 0, "coverage_pct": None, "coverage_low": None, "coverage_high": None}
    ends = {"pct": share.value, "low": share.low, "high": share.high}
    return {"n": len(inside), **{f"coverage_{n}": v if v is None else round(100 * v, 1) for n, v in ends.items()}}
