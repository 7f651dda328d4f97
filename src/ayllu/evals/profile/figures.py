"""The figures of a profile, computed from the verdicts: what `profile.json` holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ayllu.evals.profile.answers import Verdict
from ayllu.evals.profile.calibration import calibrate
from ayllu.evals.profile.curve import Threshold, count_cells, fit_threshold
from ayllu.evals.profile.item import Mode
from ayllu.evals.profile.rows import BY_EXAMPLES, FURTHER, TEN, Row
from ayllu.evals.statistics import ConfidenceInterval, attrition_interval, mean_interval, share_interval

ENOUGH = 4
"""Examples from which on a rule can be known: the row `learning` takes its difficulty from these items."""
KNOWING = "knowing_limits"
KINDS = {"abstains_if_unsaid": "unsaid", "answers_if_said": "said"}


def profile_figures(
    verdicts: Sequence[Verdict], *, headline: Mode, about: Mapping[str, Any], weighs: bool = True
) -> dict[str, Any]:
    """The object of profile.json.

    {"suite": "profile", "about": {...}, "profile": [ten rows in the mode `headline`], "further": [four rows],
    "by_mode": {mode: {"profile", "further"}}, "level": a sentence, "scores": [...]}. A row has {"row", "title", "d50",
    "low", "high", "measured", "mode", "censored", "scale", "items", "missing", "slope", "fit_p", "generators",
    "reason"}: of one that is not measured all figures are None. Without `weighs` likelihoods are no probabilities: no
    bits, no confidence. A score has {"name", "value", "low", "high", "n", "mode", "chance"}.
    """
    modes = list(dict.fromkeys(verdict.mode for verdict in verdicts))
    by_mode = {
        mode: {
            part: [_row(row, verdicts, mode) for row in rows] for part, rows in (("profile", TEN), ("further", FURTHER))
        }
        for mode in dict.fromkeys([headline, *modes])
    }
    measured = sum(row["measured"] for row in by_mode[headline]["profile"])
    return {
        "suite": "profile",
        "about": dict(about),
        **by_mode[headline],
        "level": f"no level is claimed: {measured} of {len(TEN)} rows are measured",
        "by_mode": by_mode,
        "scores": [*_accuracies(verdicts), *(_weighed(verdicts) if weighs else []), *_abstaining(verdicts)],
    }


def curve_items(verdicts: Iterable[Verdict], row: str, mode: Mode) -> list[Verdict]:
    """The verdicts that a row's difficulty is taken from: those that can be right in this mode."""
    return [
        verdict
        for verdict in verdicts
        if verdict.item.row == row
        and verdict.mode == mode
        and (mode == "gen" or verdict.item.choices)
        and (row != BY_EXAMPLES or (verdict.item.examples or 0) >= ENOUGH)
    ]


def threshold_of(verdicts: Sequence[Verdict]) -> Threshold:
    """d50 of some verdicts. Those without an answer count as wrong, and the upper bound is what it would be if they
    were right."""
    levels = [verdict.item.level for verdict in verdicts]
    chances = [verdict.chance for verdict in verdicts]
    found = fit_threshold(count_cells(levels, chances, [verdict.solved for verdict in verdicts]))
    if all(verdict.answered for verdict in verdicts):
        return found
    hopeful = count_cells(levels, chances, [verdict.solved or not verdict.answered for verdict in verdicts])
    return replace(found, high=max(found.high, fit_threshold(hopeful).high))


def _row(row: Row, verdicts: Sequence[Verdict], mode: Mode) -> dict[str, Any]:
    mine = curve_items(verdicts, row.name, mode)
    entry: dict[str, Any] = {"row": row.name, "title": row.title, "mode": mode}
    if not mine:
        unknown = dict.fromkeys(("d50", "low", "high", "censored", "items", "fit_p"))
        reason = row.reason or "it was not asked in this mode"
        return {**entry, **unknown, "measured": False, "reason": reason}
    found = threshold_of(mine)
    groups: dict[str, list[Verdict]] = {}
    for verdict in mine:
        groups.setdefault(verdict.item.generator, []).append(verdict)
    generators = [{"generator": name, **_threshold(threshold_of(own), own)} for name, own in groups.items()]
    return {**entry, "measured": True, **_threshold(found, mine), "generators": generators, "reason": ""}


def _threshold(found: Threshold, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    levels = [verdict.item.level for verdict in verdicts]
    return {
        "d50": round(found.d50, 2),
        "low": round(found.low, 2),
        "high": round(found.high, 2),
        "censored": found.censored,
        "scale": [min(levels), max(levels)],
        "items": found.items,
        "missing": sum(not verdict.answered for verdict in verdicts),
        "slope": round(found.slope, 3),
        "fit_p": round(found.fit_p, 3),
    }


def _accuracies(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, Mode], list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.mode == "gen" or verdict.item.choices:
            groups.setdefault((verdict.item.name, verdict.mode), []).append(verdict)
    return [_score(name, mode, _share(mine), mine) for (name, mode), mine in groups.items()]


def _share(verdicts: Sequence[Verdict]) -> ConfidenceInterval:
    """The share that is solved: Wilson's interval, clustered where items belong together, wider where answers lack."""
    groups = [verdict.item.group for verdict in verdicts]
    solved, answered = [verdict.solved for verdict in verdicts], sum(verdict.answered for verdict in verdicts)
    if answered < len(verdicts):
        return attrition_interval(sum(solved), answered, len(verdicts))
    return share_interval(solved, clusters=groups if len(set(groups)) < len(groups) else None)


def _weighed(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Bits per byte of the right answers by row, and calibration over all ranked items."""
    rows: dict[str, list[float]] = {}
    for verdict in verdicts:
        if (bits := verdict.gold_bits_per_byte) is not None:
            rows.setdefault(verdict.item.row, []).append(bits)
    found = [
        _entry(f"{row}/gold_bits_per_byte", mean_interval(bits), len(bits), "bpb", None) for row, bits in rows.items()
    ]
    # Items against the clock say how fast a subject is, not whether it knows.
    sure = [(c, v.solved) for v in verdicts if (c := v.confidence) is not None and v.item.seconds is None]
    if len(sure) > 1:
        for name, value in calibrate([c for c, _ in sure], [right for _, right in sure]).items():
            chance = 0.5 if name == "discrimination" else None
            found.append(_entry(f"{KNOWING}/{name}", value, len(sure), "rank", chance))
    return found


def _abstaining(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """How often it abstains where the text does not say it, and answers where it does."""
    found = []
    for mode in dict.fromkeys(verdict.mode for verdict in verdicts):
        for name, kind in KINDS.items():
            mine = [v for v in verdicts if v.mode == mode and v.item.row == KNOWING and v.item.kind == kind]
            if mine:
                guess = sum(verdict.item.guess(mode) for verdict in mine) / len(mine)
                found.append(_entry(f"{KNOWING}/{name}", _share(mine), len(mine), mode, guess))
    return found


def _score(name: str, mode: Mode, value: ConfidenceInterval, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    chance = sum(verdict.chance for verdict in verdicts) / len(verdicts)
    return _entry(name, value, len(verdicts), mode, chance)


def _entry(name: str, value: ConfidenceInterval, n: int, mode: str, chance: float | None) -> dict[str, Any]:
    return {"name": name, **value.as_json(), "n": n, "mode": mode, "chance": chance}
