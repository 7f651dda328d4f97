"""Tables of published training runs: what of them can be scored, and the reasons for the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from ayllu.fleet.catalogue import read_table
from ayllu.fleet.planner.queries import Queries, stack
from ayllu.fleet.validation.columns import read_rows
from ayllu.fleet.validation.measured_run import MeasuredRun, Unusable, read_measured_run
from ayllu.lab.error import UserError

REQUIRED = ("model", "gpus", "gpu_type")
"""Columns without which a table is no table of runs; one of `TIMES` is needed too, and what a row leaves out of the
rest is filled where it can be."""

OUT_OF_MEMORY = re.compile(r"\bOOM\b|out of memory|did not fit", re.I)
TIMES = ("step_time_s", "tokens_per_s", "tflops_per_gpu", "mfu_pct")


@dataclass(frozen=True, kw_only=True)
class MeasuredRuns:
    """The usable runs of a table, and how many were left out for which reason."""

    runs: tuple[MeasuredRun, ...]
    queries: Queries
    seconds: np.ndarray
    left_out: Mapping[str, int]
    out_of_memory: Queries | None = None
    """Runs that were tried and did not fit."""
    experts: MeasuredRuns | None = None
    """Runs of mixtures of experts, which are scored apart; None where the table has none."""

    def take(self, rows: np.ndarray) -> MeasuredRuns:
        """The runs that a mask selects."""
        chosen = tuple(run for run, keep in zip(self.runs, rows, strict=True) if keep)
        return MeasuredRuns(runs=chosen, queries=self.queries.take(rows), seconds=self.seconds[rows], left_out={})


def read_measured_runs(path: Path | None = None) -> MeasuredRuns:
    """The runs of the CSV at `path`, or of the packaged table. Raises UserError when the file is no such table."""
    rows = read_table("training_runs.csv") if path is None else read_rows(path)
    needed = f"a table of runs has at least the columns {', '.join(REQUIRED)} and one of {', '.join(TIMES)}"
    if not rows:
        raise UserError(f"{path or 'the packaged table'}: it has no rows; {needed}")
    missing = [name for name in REQUIRED if name not in rows[0]]
    missing += [] if any(name in row for row in rows for name in TIMES) else [f"{TIMES[0]} or another time"]
    if missing:
        raise UserError(f"{path or 'the packaged table'}: it has no column {', '.join(missing)}; {needed}")
    try:
        return gather(rows)
    except UserError as error:
        raise UserError(f"{path or 'the packaged table'}: {error}") from error


@cache
def packaged_runs() -> MeasuredRuns:
    """The runs of the packaged table, read once."""
    return read_measured_runs()


def gather(rows: list[dict[str, str]]) -> MeasuredRuns:
    """The usable rows as runs. Raises UserError when no dense one is usable."""
    runs: list[MeasuredRun] = []
    mixtures: list[MeasuredRun] = []
    failed: list[dict[str, float]] = []
    left_out = Counter[str]()
    for raw in rows:
        row = {name: value.strip() for name, value in raw.items()}
        if not any(row.values()):
            left_out["an empty row"] += 1
            continue
        try:
            if OUT_OF_MEMORY.search(row.get("notes", "")) and not any(row.get(name) for name in TIMES):
                failed.append(dict(read_measured_run(row | {"step_time_s": "1"}).columns))
                left_out["ran out of memory (scored as such)"] += 1
            else:
                run = read_measured_run(row)
                (mixtures if run.has_experts else runs).append(run)
                left_out["a mixture of experts (scored apart)"] += run.has_experts
        except Unusable as reason:
            left_out[str(reason)] += 1
    left_out = +left_out
    if not runs:
        reasons = "; ".join(f"{count} × {reason}" for reason, count in left_out.most_common())
        beside = "; mixtures of experts are scored beside dense runs, and there is none" if mixtures else ""
        raise UserError(f"none of the {len(rows)} rows can be scored: {reasons}{beside}")
    return replace(
        _measured_runs(runs),
        left_out=dict(left_out.most_common()),
        out_of_memory=stack(failed) if failed else None,
        experts=_measured_runs(mixtures) if mixtures else None,
    )


def _measured_runs(runs: list[MeasuredRun]) -> MeasuredRuns:
    return MeasuredRuns(
        runs=tuple(runs),
        queries=stack([dict(run.columns) for run in runs]),
        seconds=np.array([run.seconds for run in runs]),
        left_out={},
    )
