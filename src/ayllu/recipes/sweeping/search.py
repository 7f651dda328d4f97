"""Which trials a sweep makes: Optuna's samplers and pruner, seeded, so that the same sweep asks for the same trials.

Nothing of a search needs to be kept: after a kill it asks again, and the trials that were made answer at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, Literal

from ayllu.lab.error import UserError
from ayllu.recipes.sweeping.axes import Axis

Method = Literal["grid", "random", "halving"]
LARGEST_GRID = 1000
REDUCTION = 3
"""Of successive halving: the best third goes on, with three times the budget (Jamieson and Talwalkar 2016: 2 to 4)."""
ROUNDS = 3
"""Budgets of successive halving: a ninth, a third and the whole."""

Run = Callable[[dict[str, Any], float], float | None]
"""Trains with options and a share of the budget; None where it failed."""


def search(method: Method, axes: Sequence[Axis], run: Run, *, trials: int, seed: int) -> Iterator[None]:
    """Ask for trial after trial; yields after each. Raises UserError where Optuna is missing or a grid is no grid."""
    optuna = _optuna()
    pruner = optuna.pruners.NopPruner()
    if method == "halving":
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION)
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.RandomSampler(seed=seed), pruner=pruner)
    if method == "grid":
        # Not Optuna's GridSampler: it asks the study to stop, which raises where nobody is in `study.optimize`.
        for values in product(*(axis.values for axis in axes)):
            study.enqueue_trial({axis.name: value for axis, value in zip(axes, values, strict=True)})
    shares = [REDUCTION ** (k + 1 - ROUNDS) for k in range(ROUNDS)] if method == "halving" else [1.0]
    for _ in range(count(method, axes, trials)):
        asked = study.ask()
        options = {axis.name: _suggest(asked, axis) for axis in axes}
        state, value = optuna.trial.TrialState.COMPLETE, None
        for number, share in enumerate(shares):
            value = run(options, share)
            yield
            if value is None:
                state = optuna.trial.TrialState.FAIL
                break
            asked.report(value, step=REDUCTION**number)
            if number + 1 < len(shares) and asked.should_prune():
                state = optuna.trial.TrialState.PRUNED
                break
        study.tell(asked, value if state == optuna.trial.TrialState.COMPLETE else None, state=state)


def count(method: Method, axes: Sequence[Axis], trials: int) -> int:
    """How many trials there will be. Raises UserError for a grid of ranges, or one that is too large."""
    if method != "grid":
        return trials
    total = 1
    for axis in axes:
        if not axis.values:
            raise UserError(f"a grid needs values: list those of {axis.name} with commas, or use --search random")
        total *= len(axis.values)
    if total > LARGEST_GRID:
        raise UserError(f"the grid has {total:,} trials, more than {LARGEST_GRID:,}; use --search random --trials N")
    return total


def _suggest(asked: Any, axis: Axis) -> Any:
    if axis.values:
        return asked.suggest_categorical(axis.name, list(axis.values))
    if axis.whole:
        return asked.suggest_int(axis.name, int(axis.low), int(axis.high), step=int(axis.step or 1))
    return asked.suggest_float(axis.name, axis.low, axis.high, step=axis.step, log=axis.log)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError("a sweep needs Optuna, which is not installed; run: pip install 'ayllu[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
