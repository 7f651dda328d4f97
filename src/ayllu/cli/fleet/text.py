"""The catalogue, a plan, a validation, a simulation and advice as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ayllu.fleet.advise import Curve, told_number
from ayllu.fleet.catalogue import H100E_CONVENTIONS
from ayllu.fleet.experts import ExpertModel
from ayllu.fleet.own_constants import own_file
from ayllu.fleet.planner.choice import Choice
from ayllu.fleet.planner.picture import label, told_days, told_energy
from ayllu.fleet.planner.plan import Plan
from ayllu.fleet.planner.plan_fleet import FleetPlan
from ayllu.fleet.planner.training_job import parameters_seen
from ayllu.fleet.validation.own_runs import OwnRuns
from ayllu.fleet.validation.validate import Report

CHOICE_WIDTHS = (11, 10, 19, 13, 6, 8, 10, 11, 13, 15)


def plan_lines(found: FleetPlan) -> Iterable[str]:
    """The best layouts on each pool, and why they are the best."""
    job, value = found.job, found.as_json()
    experts = isinstance(job.model, ExpertModel)
    seen = f" of which a token passes {_count(parameters_seen(job.model))}" if experts else ""
    yield (
        f"{job.name}: {_count(job.model.parameters)} parameters{seen}, {_count(job.tokens)} tokens, "
        f"{job.global_batch:,} sequences of {job.sequence:,} a step, {job.precision}"
        + (f", adapters of rank {job.adapter_rank}" if job.adapter_rank else "")
    )
    if value["note"]:
        yield value["note"]
    if value["own_runs"]:
        yield f"times and intervals by {_runs(value['own_runs'])} of yours (delete {own_file()} to leave them out)"
    for each in found.plans:
        yield ""
        yield from _pool_lines(each)
    yield from (f"{part}: {reason}" for part, reason in found.does_not_fit.items())
    yield from _together_lines(found)
    yield from _deadline_lines(found)
    yield from (f"picture: {path}" for path in found.pictures)
    yield f"MFU = {value['mfu_formula']}"


def own_run_lines(found: OwnRuns) -> Iterable[str]:
    """What the user's own runs changed, and what of them was not used."""
    yield (
        f"{_runs(found.rows)} of yours: predictions of them were {found.before_pct:.1f} % off and are "
        f"{found.after_pct:.1f} % off (of runs not among them expect more)"
    )
    yield f"the whole step: × {found.software_factor:.3g}"
    yield from (f"{name.replace('_', ' ')}: × {factor:.3g}" for name, factor in found.moved.items())
    yield from (f"left out: {count} × {reason}" for reason, count in found.left_out.items())
    yield f"plans use them from now on; delete {found.file} to go back"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _together_lines(found: FleetPlan) -> Iterable[str]:
    """The same job over all parts at once."""
    if found.multi_pool is None:
        return
    joint = found.multi_pool
    shares = ", ".join(f"{share.sequences} sequences on {share.pool.accelerator.id}" for share in joint.shares)
    parts = "both parts" if len(joint.shares) == len(found.plans) == 2 else f"{len(joint.shares)} parts"
    apart = {each.pool.accelerator.id for each in found.plans} - {share.pool.accelerator.id for share in joint.shares}
    without = f" (too slow for a share: {', '.join(sorted(apart))})" if apart else ""
    yield f"one job over {parts}{without}: {joint.step_s:.3g} s a step with {shares}: {joint.as_json()['gain']}"
    named = [f"{head} {text}" for head, text in _costs(joint.energy_mwh, joint.carbon_t, joint.cost) if text != "-"]
    yield f"  in all: {', '.join([told_days(joint.days), *named])}"
    unpriced = [each.pool.accelerator.id for each in found.plans if each.best.cost is None]
    if len(unpriced) < len(found.plans) and joint.cost is None:
        yield f"  its cost is not known, for --price-hour names no price of {' and '.join(unpriced)}"
    yield from (f"  warning: {warning}" for warning in joint.warnings)


def _deadline_lines(found: FleetPlan) -> Iterable[str]:
    """On how many it is met, or would be."""
    if found.deadline_days is None:
        return
    if found.met_with is not None:
        told = _in_time(found.met_with)
    elif found.beyond is not None:
        far, met = found.beyond
        more = f"{_in_time(far)}" if met else f"no number of them does; the fastest: {_in_time(far)}"
        told = f"not on {found.plans[0].pool.count:,} {far.pool.accelerator.id}; {more}"
    yield f"deadline of {found.deadline_days:g} days: {told}"
    joint = found.multi_pool
    if found.met_with is None and joint is not None and joint.days <= found.deadline_days:
        yield f"  one job over all parts takes {told_days(joint.days)}"


def _in_time(found: Plan) -> str:
    return f"{found.best.devices:,} {found.pool.accelerator.id} do it in {told_days(found.best.days)}"


def _costs(energy: float | None, carbon: float | None, cost: float | None) -> list[tuple[str, str]]:
    """Energy, and carbon and cost where they are known, each with its heading."""
    told = [("energy", told_energy(energy) if energy is not None else "-")]
    if carbon is not None:
        told.append(("CO2e", f"{_short(carbon)} t"))
    if cost is not None:
        told.append(("cost", f"{cost:,.0f}" if cost >= 100 else f"{cost:,.2f}"))
    return told


def _pool_lines(found: Plan) -> Iterable[str]:
    yield (
        f"{found.pool.count:,} {found.pool.accelerator.id}: {found.layouts_considered:,} layouts, "
        f"{found.layouts_that_fit:,} fit"
    )
    yield from _choice_lines(found.choices)
    yield from (f"  why: {reason}" for reason in found.why)
    if found.pool.unsourced:
        yield f"  from memory, without a source: {_named(found.pool.unsourced)} of {found.pool.accelerator.id}"


def assigned_lines(assigned: Sequence[FleetPlan]) -> Iterable[str]:
    """Which job goes on which part, and how."""
    for (each,) in (found.plans for found in assigned):
        best = each.best
        costs = _costs(best.energy_mwh, best.carbon_t, best.cost)[1:]
        yield (
            f"{each.job.name} on {each.pool.count:,} {each.pool.accelerator.id}: {told_days(best.days)}, "
            f"{label(best)} on {best.devices:,} of them, {best.tokens_per_s:,.0f} tokens/s"
            + "".join(f", {head} {text}" for head, text in costs)
        )


def _named(columns: Iterable[str]) -> str:
    """Columns of the catalogue in words: `link_gb_s` is the link."""
    words = {"link_gb_s": "link", "network_gb_s": "network", "memory_gb": "memory", "memory_tb_s": "bandwidth"}
    words |= {"tdp_w": "power", "link_domain": "link domain", "node_size": "node size"}
    return ", ".join(words.get(name, name.replace("_tflops", " rate")) for name in columns)


def _choice_lines(choices: Sequence[Choice]) -> Iterable[str]:
    rows = [_costs(c.energy_mwh, c.carbon_t, c.cost) for c in choices]
    heads = [head for head, _ in rows[0]]
    yield _choice_row(("layout", "states", "step", "interval", "tokens/s", "MFU", "memory", "time", *heads))
    for c, costs in zip(choices, rows, strict=True):
        interval = f"{c.interval_s[0]:.3g} to {c.interval_s[1]:.3g}"
        share, used = f"{100 * c.mfu:.0f}%", f"{100 * c.memory_share:.0f}%"
        times = (f"{c.step_s:.3g} s", interval, f"{c.tokens_per_s:,.0f}")
        yield _choice_row((label(c), c.sharding, *times, share, used, told_days(c.days), *(text for _, text in costs)))


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
    return f"  {first:34}" + "".join(text.rjust(width) for text, width in zip(others, CHOICE_WIDTHS, strict=False))


def report_lines(report: Report) -> Iterable[str]:
    """How far off the predictions are, by source and by group."""
    yield f"{report.rows} runs, {report.protocol}: {_errors(asdict(report))}"
    yield f"constant MFU on the same rows: {_errors(report.baseline)}"
    unseen = report.coverage_unseen_software_pct
    new = f", and of those of software never seen {unseen:.0f} %" if unseen is not None else ""
    yield (
        f"the 80 % interval of plans holds {report.coverage_pct:.0f} % of these times{new}; "
        f"Winkler score of the logarithm {report.winkler:.2f}"
    )
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
    yield from (f"inferred: {count} × {what}" for what, count in report.inferred.items())
    yield from (f"from memory, without a source: {_named(names)} of {part}" for part, names in report.unsourced.items())


def _errors(figures: Mapping[str, Any]) -> str:
    names = {"median": "median_abs_error_pct", "mean": "mean_abs_error_pct", "p90": "p90_abs_error_pct"}
    return ", ".join(f"{name} {figures[key]} %" for name, key in names.items())


def overview_lines(value: Mapping[str, Any]) -> Iterable[str]:
    """The catalogue, an accelerator or a fleet for people."""
    if "accelerators" in value:
        return _catalogue_lines(value)
    return _accelerator_lines(value) if "accelerator" in value else _fleet_lines(value)


def _catalogue_lines(value: Mapping[str, Any]) -> Iterable[str]:
    heads = ("accelerator", "year", "bf16", "reached", "fp8", "GB", "TB/s", "link", "domain", "W")
    yield _overview_row(heads) + f"   H100e by {', '.join(list(H100E_CONVENTIONS)[:3])}"
    for each in value["accelerators"]:
        peaks = each["peak_tflops"]
        mark = "" if each["achieved_is_measured"] else "~"
        h100e = " / ".join(f"{number:.3g}" for number in each["h100e"].values())
        memory = f"   from memory: {_named(each['unsourced'])}" if each["unsourced"] else ""
        reached = mark + _text(each["achieved_bf16_tflops"])
        rates = (each["year"], peaks.get("bf16") or peaks.get("fp16"), reached, peaks.get("float8"))
        rest = (each[name] for name in ("memory_gb", "memory_tb_s", "link_gb_s", "link_domain", "tdp_w"))
        yield _overview_row((each["id"], *rates, *rest)) + f"   {h100e}{memory}"
    yield "TFLOP/s dense; reached: best matrix product measured (~ estimated); link: GB/s per direction"
    yield "from memory: figures that none of the sources gave (`ayllu fleet show NAME` names those)\n"
    yield from (f"{name:16} {note}" for name, note in value["fleets"].items())


def _accelerator_lines(value: Mapping[str, Any]) -> Iterable[str]:
    yield from (f"{name.replace('_', ' '):22} {_flat(entry)}" for name, entry in value["accelerator"].items())
    yield from (
        f"{'price example':22} {each['usd']} USD, {each['kind']}, {each['date']}: {each['source']}"
        for each in value["prices"]
    )


def _fleet_lines(value: Mapping[str, Any]) -> Iterable[str]:
    yield f"{value['fleet']}: {value['count']:,} accelerators. {value['note']}"
    names = list(H100E_CONVENTIONS)
    yield f"{'part':16}{'count':>10}" + "".join(f"{name:>14}" for name in names) + f"{'power':>10}{'price':>18}"
    for part in value["parts"]:
        numbers = "".join(f"{_whole(part['h100e'][name]):>14}" for name in names)
        end = f"{_mw(part['power_mw']):>10}{_whole(part['price']):>18}"
        yield f"{part['accelerator']:16}{part['count']:>10,}{numbers}{end}"
    numbers = "".join(f"{_whole(value['h100e'][name]):>14}" for name in names)
    yield f"{'H100 equivalents':16}{'':>10}{numbers}{_mw(value['power_mw']):>10}{_whole(value['price']):>18}"
    yield from (f"  {name}: {meaning}" for name, meaning in value["conventions"].items())
    yield from (
        f"  price example: {each['accelerator']} {each['usd']} USD, {each['kind']}, {each['date']}: {each['source']}"
        for each in value["price_examples"]
    )
    yield from (
        f"  from memory, without a source: {_named(part['unsourced'])} of {part['accelerator']}"
        for part in value["parts"]
        if part["unsourced"]
    )


OVERVIEW_WIDTHS = (14, 6, 8, 9, 8, 7, 7, 7, 7, 6)


def _overview_row(values: Iterable[Any]) -> str:
    first, *others = (_text(value) for value in values)
    return first.ljust(OVERVIEW_WIDTHS[0]) + "".join(
        text.rjust(width) for text, width in zip(others, OVERVIEW_WIDTHS[1:], strict=True)
    )


def _flat(entry: Any) -> str:
    if isinstance(entry, dict):
        return ", ".join(f"{name} {number:g}" for name, number in entry.items())
    return ", ".join(entry) or "-" if isinstance(entry, list) else _text(entry)


def _text(number: Any) -> str:
    if number is None:
        return "-"
    if isinstance(number, float):
        return f"{number:.0f}" if number >= 1e3 else f"{number:.4g}"
    return str(number)


def _whole(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _mw(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:,.3g} MW" if number >= 1 else f"{1000 * number:,.3g} kW"


def simulation_lines(result: Mapping[str, Any]) -> Iterable[str]:
    """What a scenario found, beside what was published, and what it starts from."""
    yield from (result["title"], "")
    for name, value in result.items():
        if isinstance(value, dict) and "mean" in value:
            low, high = value["interval"]
            told = f"{value['mean']:>12,.4g}   95 % of runs {low:,.4g} to {high:,.4g}"
            yield f"  {name.replace('_', ' '):36} {told}"
    if result["reproduction"]:
        yield ""
        yield from reproduction_lines([{"scenario": result["scenario"], **row} for row in result["reproduction"]])
    yield from ("", "Inputs:")
    for each in result["inputs"]:
        mark = " (from memory, without a source)" if each["unsourced"] else ""
        yield f"  {each['name']:32} {each['value']:36} {each['source']}{mark}"
    if result["notes"]:
        yield from ("", *result["notes"])


def reproduction_lines(rows: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Every published figure beside the simulated one."""
    yield f"{'scenario':20} {'figure':48} {'published':>10} {'simulated':>10}   95 % of runs"
    for row in rows:
        bound = ">" if row["expected_is_lower_bound"] else " "
        low, high = row["interval"]
        yield (
            f"{row['scenario']:20.20} {row['figure']:48.48} {bound}{row['expected']:>9.4g} "
            f"{row['simulated']:>10.4g}   {low:.4g} to {high:.4g}"
        )


def advice_lines(curves: Iterable[Curve]) -> Iterable[str]:
    """What to choose, and what formulas or the present setting say."""
    for curve in curves:
        low, high = map(told_number, curve.near)
        if curve.all_alike:
            yield f"{curve.question}: it makes no difference ({low} to {high} {curve.unit} are as good)"
        else:
            yield f"{curve.question}: {told_number(curve.best)} {curve.unit} ({low} to {high} are as good)"
        yield from (f"    {name.replace('_', ' '):32} {told_number(value, 4)}" for name, value in curve.checks.items())
