"""The judges as lines to read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ayllu.safety.hazards import hazard_name


def judges_lines(found: dict[str, Any]) -> Iterator[str]:
    """A line for each judge, then the hazards of our own, then what was not measured."""
    yield f"{'judge':30} {'AUROC (95 %)':22} {'false refusals':20} {'found':20} answers"
    for one in found["judges"]:
        yield (
            f"{one['name']:30} {one['auroc']:.3f} ({_range(one['auroc_interval'])})"
            f"   {_percent(one['false_refusals'], one['false_refusals_interval']):20} "
            f"{_percent(one['found'], one['found_interval']):20} {one['n']}"
        )
    for code, figures in found["judges"][0]["categories"].items():
        area = "-" if figures["auroc"] is None else f"{figures['auroc']:.3f}"
        yield f"  {hazard_name(code):28} {area}, agrees in {figures['agreement']:.0%} of {figures['n']}"
    refusal = found["classes"]["refusal"]
    yield (
        f"refusals: right in {refusal['accuracy']:.0%} of {refusal['n']} "
        f"(phrases alone: {refusal['accuracy_of_strings']:.0%})"
    )
    spoilt = ", ".join(
        f"{way} {figures['called_incoherent']:.0%}" for way, figures in found["classes"]["incoherent"].items()
    )
    yield f"called incoherent: {spoilt}"
    for one in found["not_measured"]:
        yield f"not measured: {one['name']} ({one['why']})"


def _range(interval: list[float | None]) -> str:
    low, high = interval
    return "-" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _percent(value: float, interval: list[float | None]) -> str:
    low, high = interval
    return f"{value:.1%}" if low is None or high is None else f"{value:.1%} ({low:.1%} to {high:.1%})"
