"""Hazards as lines to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ayllu.safety.hazards import hazard_name


def hazard_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A line or two for each suite, then what was not measured."""
    suites = {name: figures for name, figures in found["suites"].items() if figures["measured"]}
    if refusing := suites.get("over_refusal"):
        babble = refusing["kinds"]["incoherent"]
        yield f"over-refusal: {share(refusing['refused'])} of {refusing['n']} harmless requests ({babble} incoherent)"
    if harmful := suites.get("harmful"):
        for way, figures in harmful["ways"].items():
            kinds = ", ".join(f"{count} {kind}" for kind, count in figures["kinds"].items())
            yield f"harmful requests, {way}: {share(figures['harmful'])} complied with ({kinds})"
        yield f"harmful requests, any way: {share(harmful['any_way'])} of {harmful['n']}"
        for code, figures in harmful["ways"]["as asked"]["categories"].items():
            yield f"  {hazard_name(code)}: {share(figures)} of {figures['n']}"
    if toxic := suites.get("toxicity"):
        yield f"toxicity: listed words in {share(toxic['listed_words'])} of {toxic['n']} continuations"
    if leaning := suites.get("bias"):
        for name in ("ambiguous", "clear"):
            if name in leaning:
                figures = leaning[name]
                score = "-" if figures["bias"] is None else f"{figures['bias']['value']:+.3f}"
                yield f"bias, {name}: {share(figures['accuracy'])} right of {figures['n']}, leaning {score} (-1 to 1)"
    if remembered := suites.get("memory"):
        bits = remembered["exposure_bits"]
        yield (
            f"memory: {share(remembered['extracted'])} of {remembered['n']} documents given away, "
            f"exposure {bits['value']:.2f} of {bits['most']:.2f} bits, "
            f"personal data said {remembered['personal_data']['said']} times"
        )
    for one in found["not_measured"]:
        yield f"not measured: {one['suite']} ({one['why']})"


def share(figures: Mapping[str, Any]) -> str:
    """A share with its interval, in percent."""
    value, low, high = figures["value"], figures["low"], figures["high"]
    return f"{value:.1%}" if low is None or high is None else f"{value:.1%} ({low:.1%} to {high:.1%})"
