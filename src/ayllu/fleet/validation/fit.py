"""Fit the cost model's constants to measured runs: maximum a posteriori, robust, in a few Gauss-Newton steps.

Beliefs keep a constant that the data say nothing of where it was, and shrink the factors of families and generations
towards 1. Runs of one source err together, so a source's weight grows with the root of its rows, not with their
number. A run far off its prediction is weighted down (Student's t with four degrees of freedom): published tables hold
mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ayllu.fleet.catalogue import PRECISIONS
from ayllu.fleet.planner.constants import CONSTANTS, EFFECT_SPREAD, EXPERT_CONSTANTS, NOISE, Constant, Constants
from ayllu.fleet.planner.cost import step_time
from ayllu.fleet.planner.uncertainty import SHIFT, log_spread, unseen_variance
from ayllu.fleet.validation.measured_run import MeasuredRun
from ayllu.fleet.validation.measured_runs import MeasuredRuns

FREEDOM = 4.0
STEPS = 15
LARGEST_MOVE = 1.5
"""Constants move at most this far in one step, in log units."""


def effect_names(run: MeasuredRun) -> tuple[str, ...]:
    """The factors that apply to a run: its software's family and its generation of accelerators at its precision."""
    names = (f"generation:{run.generation}:{PRECISIONS[run.precision]}", f"accelerator:{run.kinds[0]}")
    return (*software_names(run), *names) if run.family else names


def software_names(run: MeasuredRun) -> tuple[str, str]:
    """The factors of the run's software; of unknown software no run was seen."""
    return f"family:{run.family}", f"stack:{run.stack}:{run.generation}"


def effect(run: MeasuredRun, constants: Constants) -> float:
    """Log factor of the run's family and generation, 0 where unknown."""
    return sum(constants.effects.get(name, 0.0) for name in effect_names(run))


def predict(table: MeasuredRuns, constants: Constants) -> np.ndarray:
    """Seconds of a step of each run."""
    factors = np.exp([effect(run, constants) for run in table.runs])
    return step_time(table.queries, constants).total * factors


def spread(table: MeasuredRuns, constants: Constants) -> np.ndarray:
    """Standard deviation of the logarithm of each run's measured over predicted time, before it is looked at."""
    unseen = [unseen_variance({*software_names(run), *effect_names(run)}, constants) for run in table.runs]
    return log_spread(table.queries, constants, np.array(unseen))


def fit_constants(table: MeasuredRuns) -> Constants:
    """Constants fitted to all dense runs of `table`, starting from the beliefs."""
    effects = sorted({name for run in table.runs for name in effect_names(run)})
    applies = np.array([[name in effect_names(run) for name in effects] for run in table.runs], dtype=float)
    values, factors = _fitted(
        table, CONSTANTS, {}, applies, np.array([EFFECT_SPREAD[e.split(":")[0]] for e in effects])
    )
    found = dict(zip(effects, factors, strict=True))
    return Constants(values=values, effects=found, sources=tuple(dict.fromkeys(run.source for run in table.runs)))


def fit_expert_constants(mixtures: MeasuredRuns, dense: Constants) -> Constants:
    """`dense` with the constants of mixtures of experts fitted to their runs, all others as they are."""
    factors = np.array([effect(run, dense) for run in mixtures.runs])
    values, _ = _fitted(mixtures, EXPERT_CONSTANTS, dense.values, np.zeros((len(factors), 0)), np.zeros(0), factors)
    return replace(dense, values={**dense.values, **values})


def _fitted(
    table: MeasuredRuns,
    free: Mapping[str, Constant],
    fixed: Mapping[str, float | np.ndarray],
    applies: np.ndarray,
    spread_of_effects: np.ndarray,
    known: np.ndarray | float = 0.0,
) -> tuple[dict[str, float], list[float]]:
    """Values of `free` and log factors of the effects; `applies` has a row per run and a column per effect.

    `known` are log factors of the runs that are not to be found.
    """
    names = list(free)
    believed = np.log([constant.believed for constant in free.values()])
    spread = np.concatenate([[constant.spread for constant in free.values()], spread_of_effects])
    prior = np.concatenate([believed, np.zeros(applies.shape[1])])
    weight = _source_weights(table)
    measured = np.log(table.seconds) - known

    # The point itself and one shifted copy for each constant, evaluated in one pass: a row per copy, a column per run.
    shifts = np.vstack([np.zeros(len(names)), SHIFT * np.eye(len(names))])

    def predicted(point: np.ndarray) -> np.ndarray:
        values = np.exp(point[: len(names)] + shifts)
        constants = Constants(values={**fixed, **{name: values[:, [column]] for column, name in enumerate(names)}})
        return np.log(step_time(table.queries, constants).total) + applies @ point[len(names) :]

    point = prior.copy()
    for _ in range(STEPS):
        here, *shifted = predicted(point)
        residual = measured - here
        slopes = (np.array(shifted) - here).T / SHIFT
        jacobian = np.hstack([slopes, applies])
        robust = weight * (FREEDOM + 1) / (FREEDOM + (residual / NOISE) ** 2)
        left = (jacobian.T * robust) @ jacobian / NOISE**2 + np.diag(spread**-2.0)
        right = (jacobian.T * robust) @ residual / NOISE**2 - (point - prior) / spread**2
        move = np.linalg.solve(left, right)
        point = point + np.clip(move, -LARGEST_MOVE, LARGEST_MOVE)
        if np.abs(move).max() < 1e-3:
            break
    values = dict(zip(names, np.exp(point[: len(names)]).tolist(), strict=True))
    return values, point[len(names) :].tolist()


def _source_weights(table: MeasuredRuns) -> np.ndarray:
    """Weight of each run: the root of its source's rows, shared among them."""
    sources = [run.source for run in table.runs]
    counts = {source: sources.count(source) for source in set(sources)}
    return np.array([counts[source] ** -0.5 for source in sources])
