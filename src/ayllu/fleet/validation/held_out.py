"""Predictions of runs by constants that were fitted without their source, or without all runs of their software."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ayllu.fleet.catalogue import PRECISIONS, find_accelerator
from ayllu.fleet.validation.coverage import Predictions
from ayllu.fleet.validation.fit import fit_constants, fit_expert_constants, predict, spread
from ayllu.fleet.validation.measured_run import MeasuredRun
from ayllu.fleet.validation.measured_runs import MeasuredRuns
from ayllu.lab.progress import track


def leave_one_out(
    table: MeasuredRuns, reference: MeasuredRuns, label: Callable[[MeasuredRun], str], *, title: str
) -> Predictions:
    """Each run predicted by constants fitted on the runs of `reference` with other labels only."""
    seconds, width = np.zeros(len(table.runs)), np.zeros(len(table.runs))
    named = np.array([label(run) for run in table.runs])
    known = np.array([label(run) for run in reference.runs])
    labels = list(dict.fromkeys(named.tolist()))
    for each in track(labels, title, total=len(labels), unit="fits"):
        held = named == each
        constants, part = fit_constants(reference.take(known != each)), table.take(held)
        seconds[held], width[held] = predict(part, constants), spread(part, constants)
    return Predictions(seconds=seconds, spread=width)


def by_source(run: MeasuredRun) -> str:
    """A label of a run: what it was published in."""
    return run.source


def by_software(run: MeasuredRun) -> str:
    """A label of a run: the family of its software, or where that is not known what it was published in."""
    return run.family or run.source


def related(table: MeasuredRuns, reference: MeasuredRuns) -> np.ndarray:
    """Which runs have a relative in the fit though their own source is left out: the same software elsewhere."""
    sources: dict[str, set[str]] = {}
    for run in reference.runs:
        sources.setdefault(run.family, set()).add(run.source)
    return np.array([bool(run.family) and bool(sources[run.family] - {run.source}) for run in table.runs])


def experts_held_out(mixtures: MeasuredRuns, packaged: MeasuredRuns) -> np.ndarray:
    """Predicted seconds of each run of a mixture of experts by constants, dense ones too, of the other sources."""
    assert packaged.experts is not None
    predicted = np.zeros(len(mixtures.runs))
    named = np.array([run.source for run in mixtures.runs])
    dense, known = (np.array([run.source for run in part.runs]) for part in (packaged, packaged.experts))
    for source in track(list(dict.fromkeys(named.tolist())), "mixtures of experts", unit="fits"):
        constants = fit_expert_constants(
            packaged.experts.take(known != source), fit_constants(packaged.take(dense != source))
        )
        predicted[named == source] = predict(mixtures.take(named == source), constants)
    return predicted


def constant_mfu(table: MeasuredRuns, reference: MeasuredRuns) -> np.ndarray:
    """Seconds by one MFU, the median of the other sources in `reference`."""
    sources = np.array([run.source for run in reference.runs])
    mfu = reference.queries.model_flops / (reference.seconds * reference.queries.devices * _peaks(reference))
    at_full = table.queries.model_flops / (table.queries.devices * _peaks(table))
    return np.array(
        [seconds / np.median(mfu[sources != run.source]) for seconds, run in zip(at_full, table.runs, strict=True)]
    )


def _peaks(table: MeasuredRuns) -> np.ndarray:
    return (
        np.array(
            [min(find_accelerator(kind).peak(PRECISIONS[run.precision]) for kind in run.kinds) for run in table.runs]
        )
        * 1e12
    )
