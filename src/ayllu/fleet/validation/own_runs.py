"""A few runs of the user's own: they move every constant from where published runs left it, as far as they can tell.

Each constant is drawn towards its shipped value with the spread of its belief, and one factor on the whole step, that
of the user's software, towards 1. A term that dominates the user's steps is therefore corrected by its own constant,
and one that they say nothing of stays. What the runs leave of the spreads makes the intervals of plans narrower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ayllu.fleet.own_constants import save_own
from ayllu.fleet.planner.constants import CONSTANTS, EFFECT_SPREAD, NOISE, OWN_SOFTWARE, Constants, shipped
from ayllu.fleet.planner.uncertainty import covariance, slopes
from ayllu.fleet.validation.fit import FREEDOM, predict
from ayllu.fleet.validation.measured_runs import MeasuredRuns, read_measured_runs

ROW_NOISE = 1.5 * NOISE
"""Log standard deviation of one own run: with no others of its layout beside it a slip weighs more than in a table."""
STEPS = 12
LEAST_ROWS = 8
"""Rows of a source that says what own runs are worth: some are given, the others predicted."""
SOFTWARE = ("family", "stack")


@dataclass(frozen=True, kw_only=True)
class OwnRuns:
    """What `ayllu fleet calibrate --measured` found."""

    rows: int
    file: str
    """Where the constants are kept; plans go back to the shipped ones when it is deleted."""
    before_pct: float
    """Mean absolute error of the shipped constants on these runs."""
    after_pct: float
    """The same of the moved ones: on runs that moved them, so better than on the next one."""
    software_factor: float
    moved: dict[str, float]
    """The constants that moved most, as factors on the shipped values."""
    left_out: dict[str, int]


def calibrate_on(path: Path) -> OwnRuns:
    """Move the shipped constants by the runs in the CSV at `path`, and keep them for later plans. Raises UserError when
    no row can be used."""
    table = read_measured_runs(path)
    # Plans know one software, the user's: what its factor is takes the place of those of published families.
    machines = {name: value for name, value in shipped().effects.items() if name.split(":")[0] not in SOFTWARE}
    base = replace(shipped(), effects=machines)
    found = moved_by(table, base)
    file = save_own(found)
    moves = {name: float(np.log(found[name] / shipped()[name])) for name in CONSTANTS}
    most = sorted(moves, key=lambda name: -abs(moves[name]))[:6]
    return OwnRuns(
        rows=len(table.runs),
        file=str(file),
        before_pct=_error(predict(table, base), table.seconds),
        after_pct=_error(_predicted(table, found), table.seconds),
        software_factor=round(float(np.exp(found.effects[OWN_SOFTWARE[0]])), 3),
        moved={name: round(float(np.exp(moves[name])), 3) for name in most},
        left_out=dict(table.left_out),
    )


def moved_by(table: MeasuredRuns, before: Constants) -> Constants:
    """`before` with every constant moved by the runs of `table`, and with what is left of their spreads."""
    names = list(CONSTANTS)
    start = np.log([float(before[name]) for name in names])
    prior = covariance(before)
    prior[-1, -1] = EFFECT_SPREAD["stack"] ** 2
    belief = np.linalg.inv(prior)
    measured, move = np.log(table.seconds), np.zeros(len(names) + 1)

    def at(move: np.ndarray) -> Constants:
        values = dict(zip(names, np.exp(start + move[:-1]).tolist(), strict=True))
        return replace(before, values={**before.values, **values})

    for _ in range(STEPS):
        here = at(move)
        slope = np.hstack([slopes(table.queries, here), np.ones((len(table.runs), 1))])
        off = measured - np.log(predict(table, here)) - move[-1]
        weight = (FREEDOM + 1) / (FREEDOM + (off / ROW_NOISE) ** 2) / ROW_NOISE**2
        precision = (slope.T * weight) @ slope + belief
        step = np.linalg.solve(precision, (slope.T * weight) @ off - belief @ move)
        move = move + step
        if np.abs(step).max() < 1e-4:
            break
    left = np.linalg.inv(precision)
    factor = {OWN_SOFTWARE[0]: float(move[-1]), OWN_SOFTWARE[1]: 0.0}
    return replace(
        at(move),
        effects={**before.effects, **factor},
        covariance=tuple(tuple(row) for row in left.tolist()),
        own_runs=len(table.runs),
    )


def _predicted(table: MeasuredRuns, moved: Constants) -> np.ndarray:
    """Seconds of runs of the user's software: the factor of it in place of none."""
    return predict(table, moved) * np.exp(moved.effects[OWN_SOFTWARE[0]])


def _error(predicted: np.ndarray, measured: np.ndarray) -> float:
    return round(100 * float(np.mean(np.abs(predicted / measured - 1))), 2)


def curve(
    held_out: Callable[[np.ndarray], Constants],
    table: MeasuredRuns,
    labels: np.ndarray,
    counts: tuple[int, ...],
    draws: int,
) -> dict[int, np.ndarray]:
    """Absolute errors in percent on the other rows of a label when so many of its rows, drawn at random, are one's own.

    `held_out` gives the constants that were fitted without the rows of a mask. A label with fewer rows than
    `LEAST_ROWS` is left out. Rows are drawn by seed 0, `draws` times.
    """
    draw = np.random.default_rng(0)
    found: dict[int, list[np.ndarray]] = {count: [] for count in counts}
    for label in dict.fromkeys(labels.tolist()):
        own = np.flatnonzero(labels == label)
        if len(own) < LEAST_ROWS:
            continue
        constants = held_out(labels == label)
        for _ in range(draws):
            order = draw.permutation(own)
            for count in counts:
                rest = _rows(table, order[count:])
                if count:
                    predicted = _predicted(rest, moved_by(_rows(table, order[:count]), constants))
                else:
                    predicted = predict(rest, constants)
                found[count].append(100 * np.abs(predicted / rest.seconds - 1))
    return {count: np.concatenate(each) for count, each in found.items()}


def _rows(table: MeasuredRuns, rows: np.ndarray) -> MeasuredRuns:
    return table.take(np.isin(np.arange(len(table.runs)), rows))
