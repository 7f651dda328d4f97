"""Score the cost and memory models on published runs, and say how far off they are where they have not looked.

On the packaged table every source is predicted by constants fitted on the other sources only. On any other table the
shipped constants predict, and what cannot be scored is counted with its reason.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ayllu.fleet.catalogue import find_accelerator
from ayllu.fleet.planner.constants import Constants, shipped
from ayllu.fleet.planner.memory import fits_memory, footprint
from ayllu.fleet.validation.coverage import Predictions, coverage, interval_ends
from ayllu.fleet.validation.fit import fit_constants, fit_expert_constants, predict, spread
from ayllu.fleet.validation.held_out import (
    by_software,
    by_source,
    constant_mfu,
    experts_held_out,
    leave_one_out,
    related,
)
from ayllu.fleet.validation.measured_run import MeasuredRun
from ayllu.fleet.validation.measured_runs import MeasuredRuns, packaged_runs, read_measured_runs

MIN_LAYOUTS = 3
"""Groups with fewer measured layouts say nothing of a planner's choice."""
CALCULON = {"mean_abs_error_pct": 3.65, "max_abs_error_pct": 8.87}
"""Calculon's error on the eight rows of Korthikanti et al. (its `llm-validation`, run by us; its constants were set on
such rows)."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Measured layouts of one question, and what following the model costs."""

    source: str
    label: str
    layouts: int
    regret_pct: float
    """Time of the model's pick over the best measured, less 1."""
    worst_pct: float
    """The same for the worst layout of the group."""
    pick: dict[str, float]
    best: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Miss:
    """A run far off its prediction."""

    source: str
    label: str
    layout: dict[str, float]
    measured_s: float
    predicted_s: float
    error_pct: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `ayllu fleet validate` prints. Errors are (predicted / measured - 1) in percent."""

    truth: str
    protocol: Literal["leave-one-source-out", "shipped-constants"]
    rows: int
    median_abs_error_pct: float
    mean_abs_error_pct: float
    p90_abs_error_pct: float
    bias_pct: float
    """Median signed error."""
    plan_regret_pct: float | None
    """Mean over the groups; None without any."""
    memory: dict[str, float | int | None]
    interval_z: tuple[float, float]
    """Ends of the interval that plans print, in standard deviations of each row; with whole families held out those
    that would hold 80 of 100 of the rows of a family that they were not taken from."""
    coverage_pct: float
    """Rows whose measured time lies in the 80 % interval that plans print, around the prediction of this protocol."""
    coverage_unseen_software_pct: float | None
    """The same where no run of the row's software is in the fit: with whole families held out, where that was done."""
    winkler: float
    """Mean interval score of the logarithm of the step time."""
    by_source: dict[str, dict[str, Any]]
    """Of each source the errors, and coverage and Winkler score of the shipped interval."""
    groups: tuple[Group, ...]
    worst: tuple[Miss, ...]
    left_out: dict[str, int]
    inferred: dict[str, int]
    """What rows do not say and their other figures tell, and of how many."""
    baseline: dict[str, float]
    """A constant MFU, fitted on the same other sources."""
    experts: dict[str, Any] | None = None
    """The same figures of the mixtures of experts, which count in none of the others; None without any."""
    other_protocols: dict[str, dict[str, float]] = field(default_factory=dict)
    by_source_unseen: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The same as `by_source` with whole families held out, where that was done."""
    unsourced: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Figures from memory of the accelerators of these runs."""

    def as_json(self) -> dict[str, Any]:
        """The report as plain values; the memory figures also stand at the top with `memory_` before their names."""
        plain = asdict(self)
        memory = plain.pop("memory")
        return plain | {f"memory_{name}": value for name, value in memory.items()}


def validate(path: Path | None = None, *, constants: Constants | None = None, by_family: bool = True) -> Report:
    """The report on the CSV at `path`, or on the packaged table. Raises UserError when the file cannot be scored.

    `by_family` adds the harder protocol that leaves a whole software family out at a time.
    """
    packaged = packaged_runs()
    table = packaged if path is None else read_measured_runs(path)
    known = {_identity(run) for run in packaged.runs}
    fresh = np.array([_identity(run) not in known for run in table.runs])
    if constants is None and not fresh.any():
        return _held_out(table, packaged, str(path or "packaged"), by_family)
    constants = constants or shipped()
    predicted = Predictions(seconds=predict(table, constants), spread=spread(table, constants))
    others = {}
    if not fresh.all():
        others["rows not in the packaged table"] = summary(predicted.seconds[fresh], table.seconds[fresh])
    report = _report(
        table, predicted, constant_mfu(table, packaged), str(path or "packaged"), "shipped-constants", others
    )
    families = {run.family for run in packaged.runs if run.family}
    new = np.array([run.family not in families for run in table.runs])
    report = replace(report, coverage_unseen_software_pct=_covered(table, predicted, new))
    if table.experts is None:
        return report
    return replace(report, experts=_experts(table.experts, predict(table.experts, constants)))


def _held_out(table: MeasuredRuns, packaged: MeasuredRuns, name: str, by_family: bool) -> Report:
    """The report on rows of the packaged table, all of them or a part: each predicted without its source, and again
    without its software."""
    # A part of the table is held out from the whole table, so that no row is predicted by its own source.
    predicted = leave_one_out(table, packaged, by_source, title="leave one source out")
    others = {"in-sample": summary(predict(table, fit_constants(table)), table.seconds)}
    known = related(table, packaged)
    for rows, title in ((known, "software known from another source"), (~known, "software of no other source")):
        if rows.any():
            others[title] = summary(predicted.seconds[rows], table.seconds[rows])
    report = _report(table, predicted, constant_mfu(table, packaged), name, "leave-one-source-out", others)
    report = replace(report, coverage_unseen_software_pct=_covered(table, predicted, ~known))
    if table.experts is not None:
        report = replace(report, experts=_experts(table.experts, experts_held_out(table.experts, packaged)))
    if not by_family:
        return report
    blind = leave_one_out(table, packaged, by_software, title="leave one family out")
    figures = summary(blind.seconds, table.seconds)
    return replace(
        report,
        other_protocols=others | {"leave-one-family-out": figures | _interval_figures(blind, table.seconds)},
        interval_z=interval_ends(blind, table.seconds, np.array([by_software(run) for run in table.runs])),
        coverage_unseen_software_pct=_covered(table, blind, np.full(len(table.runs), True)),
        by_source_unseen=_by_source(table, blind, plan_groups(table, blind.seconds)),
    )


def _covered(table: MeasuredRuns, predicted: Predictions, rows: np.ndarray) -> float | None:
    found = coverage(predicted.take(rows), table.seconds[rows], shipped())
    return found.coverage_pct if found is not None else None


def _interval_figures(predicted: Predictions, measured: np.ndarray) -> dict[str, float]:
    """Coverage and Winkler score of the shipped interval, by name."""
    found = coverage(predicted, measured, shipped())
    assert found is not None
    return asdict(found)


def _experts(mixtures: MeasuredRuns, predicted: np.ndarray) -> dict[str, Any]:
    groups = plan_groups(mixtures, predicted)
    return summary(predicted, mixtures.seconds) | {
        "plan_regret_pct": _mean_regret(groups),
        "interval": _quantiles(mixtures.seconds / predicted, 0.05, 0.95),
        "memory": _memory_figures(mixtures),
        "by_source": _errors_by_source(mixtures, predicted, groups),
        "worst": [asdict(miss) for miss in _worst(mixtures, predicted, 6)],
    }


def summary(predicted: np.ndarray, measured: np.ndarray) -> dict[str, float]:
    """Rows, median, mean and p90 of the absolute error and the median signed error, in percent."""
    error = 100 * (predicted / measured - 1)
    return {
        "rows": len(error),
        "median_abs_error_pct": _rounded(np.median(np.abs(error))),
        "mean_abs_error_pct": _rounded(np.mean(np.abs(error))),
        "p90_abs_error_pct": _rounded(np.quantile(np.abs(error), 0.9)),
        "bias_pct": _rounded(np.median(error)),
    }


def plan_groups(table: MeasuredRuns, predicted: np.ndarray) -> tuple[Group, ...]:
    """The questions of `table` with enough measured layouts, each with the regret of the model's pick.

    A layout that was measured more than once counts by its median.
    """
    questions: dict[tuple, dict[tuple, list[int]]] = {}
    for index, run in enumerate(table.runs):
        questions.setdefault(run.question, {}).setdefault(run.layout, []).append(index)
    groups = []
    for layouts in questions.values():
        if len(layouts) < MIN_LAYOUTS:
            continue
        rows = list(layouts.values())
        measured = np.array([np.median(table.seconds[row]) for row in rows])
        expected = np.array([np.median(predicted[row]) for row in rows])
        pick, best = int(np.argmin(expected)), int(np.argmin(measured))
        groups.append(
            Group(
                source=table.runs[rows[0][0]].source,
                label=table.runs[rows[0][0]].label,
                layouts=len(rows),
                regret_pct=_rounded(100 * (measured[pick] / measured[best] - 1)),
                worst_pct=_rounded(100 * (measured.max() / measured[best] - 1)),
                pick=_degrees(table.runs[rows[pick][0]]),
                best=_degrees(table.runs[rows[best][0]]),
            )
        )
    return tuple(groups)


def write_constants(path: Path, table: MeasuredRuns, report: Report) -> Constants:
    """Fit on all of `table` and write the constants, with the interval of the held-out `report`, for
    `constants.shipped`."""
    fitted = fit_constants(table)
    if table.experts is not None and report.experts is not None:
        fitted = replace(fit_expert_constants(table.experts, fitted), interval_experts=report.experts["interval"])
    content = {
        "fitted_on": f"{report.rows} runs of {len(report.by_source)} sources",
        "interval_z": report.interval_z,
        "interval_experts": fitted.interval_experts,
        "values": {name: float(f"{value:.5g}") for name, value in fitted.values.items()},
        "effects": {name: round(value, 5) for name, value in fitted.effects.items()},
        "sources": list(fitted.sources),
    }
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    return fitted


def _report(
    table: MeasuredRuns,
    predicted: Predictions,
    baseline: np.ndarray,
    name: str,
    protocol: Literal["leave-one-source-out", "shipped-constants"],
    others: Mapping[str, dict[str, float]],
) -> Report:
    groups = plan_groups(table, predicted.seconds)
    overall = summary(predicted.seconds, table.seconds)
    held = _interval_figures(predicted, table.seconds)
    return Report(
        truth=name,
        protocol=protocol,
        rows=int(overall["rows"]),
        median_abs_error_pct=overall["median_abs_error_pct"],
        mean_abs_error_pct=overall["mean_abs_error_pct"],
        p90_abs_error_pct=overall["p90_abs_error_pct"],
        bias_pct=overall["bias_pct"],
        plan_regret_pct=_mean_regret(groups),
        memory=_memory_figures(table),
        interval_z=shipped().interval_z,
        coverage_pct=held["coverage_pct"],
        coverage_unseen_software_pct=None,
        winkler=held["winkler"],
        by_source=_by_source(table, predicted, groups),
        groups=groups,
        worst=_worst(table, predicted.seconds),
        left_out=dict(table.left_out),
        inferred=dict(Counter(what for run in table.runs for what in run.inferred)),
        baseline=summary(baseline, table.seconds),
        other_protocols=dict(others),
        unsourced={
            part.id: part.unsourced
            for part in map(find_accelerator, sorted({kind for run in table.runs for kind in run.kinds}))
            if part.unsourced
        },
    )


def _by_source(table: MeasuredRuns, predicted: Predictions, groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """Per source: errors as in `_errors_by_source`, and how the shipped interval does."""
    found = _errors_by_source(table, predicted.seconds, groups)
    sources = np.array([run.source for run in table.runs])
    for source, figures in found.items():
        rows = sources == source
        figures |= _interval_figures(predicted.take(rows), table.seconds[rows])
    return found


def _errors_by_source(table: MeasuredRuns, predicted: np.ndarray, groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """Per source: the summary, the rank correlations, memory and plan regret; Calculon beside its eight rows."""
    sources = np.array([run.source for run in table.runs])
    found: dict[str, dict[str, Any]] = {}
    for source in dict.fromkeys(sources.tolist()):
        rows = sources == source
        part = table.take(rows)
        rate = part.queries.model_flops / part.queries.devices
        own = [group for group in groups if group.source == source]
        found[source] = summary(predicted[rows], part.seconds) | {
            "rank_correlation": _spearman(predicted[rows], part.seconds),
            "rank_correlation_of_flop_rate": _spearman(rate / predicted[rows], rate / part.seconds),
            "plan_regret_pct": _mean_regret(own),
            **{f"memory_{name}": value for name, value in _memory_figures(part).items()},
        }
        if source.startswith("Korthikanti"):
            found[source]["calculon"] = CALCULON
    return found


def _memory_figures(table: MeasuredRuns) -> dict[str, float | int | None]:
    """Error of the predicted peak where one was measured, and how the answer "fits" agrees with what ran and what did
    not."""
    predicted = footprint(table.queries).total
    measured = np.array([run.measured_memory or np.nan for run in table.runs])
    rows = ~np.isnan(measured)
    error = np.abs(100 * (predicted[rows] / measured[rows] - 1))
    stated = np.array([run.recompute_given for run in table.runs])
    refused = ~fits_memory(table.queries)
    failed = table.out_of_memory
    return {
        "rows": int(rows.sum()),
        "median_abs_error_pct": _rounded(np.median(error)) if rows.any() else None,
        "mean_abs_error_pct": _rounded(np.mean(error)) if rows.any() else None,
        "p90_abs_error_pct": _rounded(np.quantile(error, 0.9)) if rows.any() else None,
        "ran_but_refused": int((refused & stated).sum()),
        "ran": int(stated.sum()),
        "false_fits": int(fits_memory(failed).sum()) if failed is not None else 0,
        "out_of_memory": len(failed.tp) if failed is not None else 0,
    }


def _worst(table: MeasuredRuns, predicted: np.ndarray, count: int = 12) -> tuple[Miss, ...]:
    error = 100 * (predicted / table.seconds - 1)
    order = np.argsort(-np.abs(np.log(predicted / table.seconds)))[:count]
    return tuple(
        Miss(
            source=table.runs[index].source,
            label=table.runs[index].label,
            layout=_degrees(table.runs[index]),
            measured_s=float(f"{table.seconds[index]:.4g}"),
            predicted_s=float(f"{predicted[index]:.4g}"),
            error_pct=_rounded(error[index]),
        )
        for index in order
    )


def _degrees(run: MeasuredRun) -> dict[str, float]:
    names = {"tp": "tp", "cp": "cp", "pp": "pp", "virtual": "virtual", "dp": "dp_shard", "micro_batch": "micro_batch"}
    return {short: run.columns[name] for short, name in names.items()}


def _identity(run: MeasuredRun) -> tuple:
    return (run.source, run.question, run.layout, round(float(np.log(run.seconds)), 6))


def _mean_regret(groups: Sequence[Group]) -> float | None:
    return _rounded(np.mean([group.regret_pct for group in groups])) if groups else None


def _spearman(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's rank correlation with ties at their mean rank; None below three rows or without any spread."""
    if len(one) < 3:
        return None
    first, second = _ranks(one), _ranks(other)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return _rounded(np.corrcoef(first, second)[0, 1], 3)


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]


def _quantiles(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    return _rounded(np.quantile(values, low), 4), _rounded(np.quantile(values, high), 4)


def _rounded(value: float | np.floating, digits: int = 2) -> float:
    return round(float(value), digits)
