"""How far a measured step may lie from its prediction: widths follow the terms that dominate the step.

Every constant is random from one software and machine to the next, with the spread of its belief; what that does to a
step's logarithm follows from the slopes of the model. Factors that no run was seen for add their own spread, and a run
differs from the model by `NOISE` whatever is known. Two numbers, fitted on software that was held out, turn the
standard deviation into an 80 % interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ayllu.fleet.planner.constants import CONSTANTS, EFFECT_SPREAD, NOISE, Constants
from ayllu.fleet.planner.cost import step_time
from ayllu.fleet.planner.queries import Queries

SHIFT = 1e-4
"""Step of the numerical slopes, in log units."""


def slopes(q: Queries, constants: Constants) -> np.ndarray:
    """Change of the logarithm of a step with the logarithm of each of `CONSTANTS`: a row per query, a column each."""
    names = list(CONSTANTS)
    point = np.log([float(constants[name]) for name in names])
    # The point itself and one shifted copy for each constant, evaluated in one pass.
    values = np.exp(point + np.vstack([np.zeros(len(names)), SHIFT * np.eye(len(names))]))
    shifted = {name: values[:, [column]] for column, name in enumerate(names)}
    here, *moved = np.log(step_time(q, replace(constants, values={**constants.values, **shifted})).total)
    return (np.array(moved) - here).T / SHIFT


def log_spread(q: Queries, constants: Constants, unseen: np.ndarray | float) -> np.ndarray:
    """Standard deviation of the logarithm of measured over predicted time, one of each query.

    `unseen` is the variance of the factors that nothing is known of (`unseen_variance`).
    """
    slope = np.hstack([slopes(q, constants), np.ones((len(q.tp), 1))])
    variance = np.einsum("qa,ab,qb->q", slope, covariance(constants), slope)
    return np.sqrt(variance + unseen + NOISE**2)


def covariance(constants: Constants) -> np.ndarray:
    """Of the logarithms of `CONSTANTS` and of one factor on the whole step, from one source of runs to the next: the
    beliefs', or what own runs have left of them."""
    if constants.covariance is not None:
        return np.array(constants.covariance)
    return np.diag([*(constant.spread**2 for constant in CONSTANTS.values()), 0.0])


def unseen_variance(names: Iterable[str], constants: Constants) -> float:
    """Variance of those factors (`family:NAME` and so on) that no run of the fit had."""
    return sum(EFFECT_SPREAD[name.split(":")[0]] ** 2 for name in names if name not in constants.effects)


def interval(spread: np.ndarray, constants: Constants) -> tuple[np.ndarray, np.ndarray]:
    """Factors on a predicted time between which a measured one lies in 80 of 100 cases."""
    low, high = constants.interval_z
    return np.exp(low * spread), np.exp(high * spread)
