"""A plan and a validation as plain values and as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ayllu.fleet.experts import ExpertModel
from ayllu.fleet.planner.picture import label, told_days, told_energy
from ayllu.fleet.planner.plan import Choice, Plan, TrainingJob, parameters_seen
from ayllu.fleet.validation.validate import Report

MFU_FORMULA = (
    "tokens/s x (6 x matrix parameters that a token passes + 12 x layers x heads x head width x sequence) / "
    "(devices x dense peak)"
)
PLANNED_ONLY = (
    "a mixture of experts is planned only, with even routing: `ayllu` trains dense models and refuses ep above 1"
)
CHOICE_WIDTHS = (11, 10, 19, 13, 6, 8, 10, 11)


def plan_value(
    job: TrainingJob, plans: Sequence[Plan], refused: dict[str, str], note: str | None = None
) -> dict[str, Any]:
    return {
        "model": job.name,
        "parameters": job.model.parameters,
        "active_parameters": parameters_seen(job.model),
        "tokens": job.tokens,
        "sequence": job.sequence,
        "global_batch": job.global_batch,
        "precision": job.precision,
        "mfu_formula": MFU_FORMULA,
        "note": PLANNED_ONLY if isinstance(job.model, ExpertModel) else note,
        "pools": [
            {
                "accelerator": each.pool.accelerator.id,
                "count": each.pool.count,
                "layouts_considered": each.layouts_considered,
                "layouts_that_fit": each.layouts_that_fit,
                "why": list(each.why),
                "choices": [choice.as_json() for choice in each.choices],
            }
            for each in plans
        ],
        "does_not_fit": refused,
    }


def plan_lines(job: TrainingJob, plans: Sequence[Plan], value: dict[str, Any]) -> Iterable[str]:
    experts = isinstance(job.model, ExpertModel)
    seen = f" of which a token passes {_count(parameters_seen(job.model))}" if experts else ""
    yield (
        f"{job.name}: {_count(job.model.parameters)} parameters{seen}, {_count(job.tokens)} tokens, "
        f"{job.global_batch:,} sequences of {job.sequence:,} a step, {job.precision}"
    )
    if value["note"]:
        yield value["note"]
    for each in plans:
        yield ""
        yield (
            f"{each.pool.count:,} {each.pool.accelerator.id}: "
            f"{each.layouts_considered:,} layouts, {each.layouts_that_fit:,} fit"
        )
        yield from _choice_lines(each.choices)
        yield from (f"  why: {reason}" for reason in each.why)
    for part, reason in value["does_not_fit"].items():
        yield f"{part}: {reason}"
    if "together" in value:
        together = value["together"]
        shares = ", ".join(f"{share['sequences']} sequences on {share['accelerator']}" for share in together["shares"])
        yield f"one job over both: {together['step_s']:.3g} s a step with {shares}: {together['gain']}"
    if "deadline" in value:
        met = value["deadline"]["met_with"]
        yield (
            f"deadline of {value['deadline']['days']:g} days: "
            f"{met['devices']:,} accelerators do it in {told_days(met['days'])}"
            if met
            else f"deadline of {value['deadline']['days']:g} days: not on this fleet"
        )
    yield from (f"picture: {path}" for path in value.get("pictures", ()))
    yield f"MFU = {value['mfu_formula']}"


def assigned_lines(assigned: Sequence[Plan]) -> Iterable[str]:
    """Which job goes on which part, and how."""
    for each in assigned:
        best = each.best
        yield (
            f"{each.job.name} on {each.pool.count:,} {each.pool.accelerator.id}: {told_days(best.days)}, "
            f"{label(best)} on {best.devices:,} of them, {best.tokens_per_s:,.0f} tokens/s"
        )


def _choice_lines(choices: Sequence[Choice]) -> Iterable[str]:
    yield _choice_row(("layout", "states", "step", "interval", "tokens/s", "MFU", "memory", "time", "energy"))
    for c in choices:
        energy = told_energy(c.energy_mwh) if c.energy_mwh is not None else "-"
        interval = f"{c.interval_s[0]:.3g} to {c.interval_s[1]:.3g}"
        extra = (f", {_short(c.carbon_t)} t CO2e" if c.carbon_t is not None else "") + (
            f", cost {c.cost:,.0f}" if c.cost is not None else ""
        )
        share, used = f"{100 * c.mfu:.0f}%", f"{100 * c.memory_share:.0f}%"
        times = (f"{c.step_s:.3g} s", interval, f"{c.tokens_per_s:,.0f}")
        yield _choice_row((label(c), c.sharding, *times, share, used, told_days(c.days), energy)) + extra


def _short(value: float) -> str:
    """Four figures without an exponent: 17,630 and 0.0024."""
    digits = max(0, 3 - math.floor(math.log10(value))) if value else 0
    return f"{value:,.{min(digits, 2 if value >= 1 else 4)}f}"


def _count(value: float) -> str:
    """A number of parameters or tokens with its unit: 405.9B, 15.6T."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if value >= size:
            return f"{value / size:,.4g}{unit}"
    return f"{value:,.0f}"


def _choice_row(texts: Iterable[str]) -> str:
    first, *others = texts
    return f"  {first:34}" + "".join(text.rjust(width) for text, width in zip(others, CHOICE_WIDTHS, strict=True))


def report_lines(report: Report) -> Iterable[str]:
    yield f"{report.rows} runs, {report.protocol}: {_errors(asdict(report))}"
    yield f"constant MFU on the same rows: {_errors(report.baseline)}"
    for name, figures in report.other_protocols.items():
        yield f"{name} ({figures['rows']} rows): {_errors(figures)}"
    if report.experts is not None:
        experts, peaks = report.experts, report.experts["memory"]
        yield (
            f"mixtures of experts, in none of the other figures ({experts['rows']} rows): {_errors(experts)}"
            + (f"; memory {peaks['median_abs_error_pct']:.1f} % on {peaks['rows']} peaks" if peaks["rows"] else "")
        )
    memory = report.memory
    if memory["rows"]:
        yield (
            f"memory on {memory['rows']} measured peaks: {_errors(memory)}; "
            f"{memory['ran_but_refused']} of {memory['ran']} that ran would be refused, "
            f"{memory['false_fits']} of {memory['out_of_memory']} that ran out of memory would be tried"
        )
    yield ""
    yield f"{'source':58}{'rows':>5}{'median':>8}{'p90':>8}{'bias':>8}{'rank':>7}{'regret':>8}"
    for source, found in report.by_source.items():
        rank = "-" if found["rank_correlation"] is None else f"{found['rank_correlation']:.3f}"
        regret = "-" if found["plan_regret_pct"] is None else f"{found['plan_regret_pct']:.1f}%"
        yield (
            f"{source[:57]:58}{found['rows']:>5}{found['median_abs_error_pct']:>7.1f}%{found['p90_abs_error_pct']:>7.1f}%"
            f"{found['bias_pct']:>+7.1f}%{rank:>7}{regret:>8}"
        )
    if report.groups:
        yield f"\nplan regret {report.plan_regret_pct} % over {len(report.groups)} groups:"
        for group in report.groups:
            regret = f"regret {group.regret_pct:.1f} % (worst layout {group.worst_pct:.0f} %)"
            yield f"  {group.label[:50]:52}{group.layouts:>3} layouts, {regret}"
    yield "\nfurthest off:"
    yield from (
        f"  {miss.error_pct:+7.1f} %  {miss.label[:60]:62}{miss.measured_s:g} s, predicted {miss.predicted_s:g} s"
        for miss in report.worst
    )
    yield from (f"left out: {count} × {reason}" for reason, count in report.left_out.items())


def _errors(figures: Mapping[str, Any]) -> str:
    names = {"median": "median_abs_error_pct", "mean": "mean_abs_error_pct", "p90": "p90_abs_error_pct"}
    return ", ".join(f"{name} {figures[key]} %" for name, key in names.items())
