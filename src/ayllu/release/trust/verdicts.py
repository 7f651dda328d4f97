"""What a policy's thresholds say of the scores: PASS, FAIL, or REVIEW where the measurement cannot decide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ayllu.release.policy import Policy, Threshold

Word = Literal["PASS", "FAIL", "REVIEW"]


def verdicts(policy: Policy, scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One object for each threshold, as records.json keeps it: what was asked, what was measured, and the verdict."""
    return [_judged(threshold, scores) for threshold in policy.thresholds]


def worst(found: Sequence[Mapping[str, Any]]) -> Word:
    """The verdict of all together."""
    words = {entry["verdict"] for entry in found}
    return "FAIL" if "FAIL" in words else "REVIEW" if "REVIEW" in words else "PASS"


def _judged(threshold: Threshold, scores: Mapping[str, Any]) -> dict[str, Any]:
    """A threshold passes where the whole interval lies on its right side, and fails where it lies on the other.

    A wide interval, few items, or a score that was not measured decide nothing.
    """
    entry, around = _find(scores, threshold.score)
    value, low, high = (entry.get(bound) for bound in ("value", "low", "high"))
    counted = next((around[n] for n in ("items", "documents") if isinstance(around.get(n), int)), None)
    measured = all(isinstance(bound, int | float) and math.isfinite(bound) for bound in (value, low, high))
    if not measured or low is None or high is None:
        verdict, reason = "REVIEW", "not measured"
    elif counted is None or counted < threshold.least:
        verdict, reason = "REVIEW", "too few items to decide"
    else:
        verdict, reason = _compared(threshold, float(low), float(high))
    return threshold.as_json() | {
        "value": value if measured else None,
        "low": low if measured else None,
        "high": high if measured else None,
        "items": counted,
        "verdict": verdict,
        "reason": reason,
    }


def _compared(threshold: Threshold, low: float, high: float) -> tuple[Word, str]:
    if threshold.at_least is not None:
        passes, fails = low >= threshold.at_least, high < threshold.at_least
    else:
        limit = float(threshold.at_most or 0)
        passes, fails = high <= limit, low > limit
    if passes:
        return "PASS", "the whole interval lies on the right side"
    return ("FAIL", "the whole interval lies on the wrong side") if fails else ("REVIEW", "the interval is too wide")


def _find(scores: Mapping[str, Any], place: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The score at `place` and the object that counts its items; empty objects where there is none."""
    around: Any = {}
    value: Any = scores
    for step in place.split("/"):
        around = value
        value = value.get(step) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping):
        return {}, {}
    return value, value if "documents" in value or "items" in value else around
