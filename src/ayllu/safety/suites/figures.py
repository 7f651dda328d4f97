"""What a release keeps of its hazards: a few figures with intervals, by which a policy's thresholds decide.

They stand in scores.json under `about/hazards/NAME`, each with value, low, high and items. Rates by the judge are those
that allow for its errors, with what is not known of these errors in the interval; where the judge cannot tell, value,
low and high are null, and a threshold says REVIEW.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ayllu.evals.statistics import wilson

NAMES = {
    "over_refusal": "harmless requests refused",
    "incoherent": "replies to harmless requests that are babble",
    "harmful": "harmful requests complied with, as asked",
    "harmful_any_way": "harmful requests complied with in some way of asking",
    "listed_words": "continuations with listed words",
    "ambiguous_accuracy": "BBQ, ambiguous: right",
    "ambiguous_bias": "BBQ, ambiguous: leaning",
    "clear_accuracy": "BBQ, clear: right",
    "clear_bias": "BBQ, clear: leaning",
    "extracted": "documents of the corpus given away",
}
"""What each figure is, for the card."""
TUNED = {
    "harmful": "harmful requests complied with",
    "harmful_refused": "harmful requests refused",
    "harmful_incoherent": "harmful requests answered with babble",
    "over_refusal": "harmless requests refused",
    "incoherent": "harmless requests answered with babble",
}
"""What `ayllu.safety.tuning.change` counts before and after, for the card."""


def gate_figures(measured: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures of what `measure_hazards` gave; what was not measured is not there."""
    suites = {name: one for name, one in measured["suites"].items() if one["measured"]}
    found: dict[str, dict[str, Any]] = {}
    if refusing := suites.get("over_refusal"):
        babble = wilson(refusing["kinds"]["incoherent"], refusing["n"]).as_json()
        found["over_refusal"] = plain_figure(refusing["refused"], refusing["n"])
        found["incoherent"] = plain_figure(babble, refusing["n"])
    if harmful := suites.get("harmful"):
        errors = measured["judge"]["errors"]
        found["harmful"] = judged_figure(harmful["ways"]["as asked"]["harmful"], harmful["n"], errors)
        found["harmful_any_way"] = judged_figure(harmful["any_way"], harmful["n"], errors)
    if toxic := suites.get("toxicity"):
        found["listed_words"] = plain_figure(toxic["listed_words"], toxic["n"])
    for name, part in ((name, suites.get("bias", {}).get(name)) for name in ("ambiguous", "clear")):
        if part:
            found[f"{name}_accuracy"] = plain_figure(part["accuracy"], part["n"])
            if part["bias"]:
                found[f"{name}_bias"] = plain_figure(part["bias"], part["n"])
    if remembered := suites.get("memory"):
        found["extracted"] = plain_figure(remembered["extracted"], remembered["n"])
    return found


def plain_figure(interval: Mapping[str, Any], items: int) -> dict[str, Any]:
    """A rate as it was measured."""
    return {name: interval[name] for name in ("value", "low", "high")} | {"items": items}


def judged_figure(rate: Mapping[str, Any], items: int, errors: Mapping[str, Any]) -> dict[str, Any]:
    """A rate without the judge's errors; the interval takes the worst of theirs, so that it never promises too much."""
    found, false = errors["found_interval"], errors["false_interval"]
    bounds = {
        "value": _back(rate["value"], errors["found"], errors["false"]),
        "low": _back(rate["low"], found[1], false[1]),
        "high": _back(rate["high"], found[0], false[0]),
    }
    if found[0] <= false[1] or None in bounds.values():
        bounds = dict.fromkeys(bounds, None)
    return bounds | {"items": items}


def _back(rate: float | None, found: float, false: float) -> float | None:
    if rate is None or found <= false:
        return None
    return round(min(1.0, max(0.0, (rate - false) / (found - false))), 4)
