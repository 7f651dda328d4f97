"""From a name on the command line to what is trained: a recipe, a model by name, or a folder's configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.fleet.catalogue import Pool, Precision
    from ayllu.fleet.planner.plan import TrainingJob
    from ayllu.model.config import ModelConfig

SEQUENCE = 8192
"""Tokens of a sequence where neither the user nor the model's context says less."""
LEAST_STEPS = 20
"""As many as `ayllu.train.budget` makes at least."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a recipe trains on an accelerator in its minutes."""

    model: ModelConfig
    sequence: int
    """Tokens per row."""
    global_batch: int
    """Rows per step."""
    minutes: float
    """Of training: the steps follow from it and from the predicted time of one."""
    note: str
    """What the plan leaves out, in a sentence."""


RecipePlan = Callable[["Pool", "Precision", float | None], Trained]
"""Pool, precision and minutes (None for the recipe's own) to what the recipe trains there."""

KNOWN: dict[str, RecipePlan] = {}
"""The recipes that `ayllu run` takes, told by `know_recipes`: they lie on a floor above this one."""


def know_recipes(recipes: Mapping[str, RecipePlan]) -> None:
    """Let `find_job` take these names too."""
    KNOWN.update(recipes)


def find_job(
    name: str,
    pool: Pool,
    *,
    tokens: float | None = None,
    sequence: int | None = None,
    batch: int | None = None,
    precision: str | None = None,
    budget: float | None = None,
) -> tuple[TrainingJob, str | None]:
    """The job of that name on `pool`, and a note on it; `batch` in tokens, `budget` in minutes of a recipe.

    Raises UserError for an unknown name, with those that are known, and for figures that cannot be.
    """
    from ayllu.fleet.planner.plan import TrainingJob, default_batch, find_model_config, parameters_seen, plan

    chosen = cast("Precision", precision or pool.accelerator.training_precision)
    if name not in KNOWN:
        if budget is not None:
            raise UserError(f"--budget is for recipes ({', '.join(KNOWN) or 'none is known'}); give {name} --tokens")
        model = find_model_config(name, recipes=tuple(KNOWN))
        length = _length(sequence, min(SEQUENCE, model.context))
        rows = _rows(batch, length) or default_batch(model, length)
        wanted = tokens if tokens is not None else 20.0 * parameters_seen(model)
        return TrainingJob(
            name=name, model=model, sequence=length, global_batch=rows, tokens=wanted, precision=chosen
        ), None
    if budget is not None and tokens is not None:
        raise UserError("--budget and --tokens both say how long the run is; leave one out")
    found = KNOWN[name](pool, chosen, budget)
    length = _length(sequence, found.sequence)
    rows = _rows(batch, length) or found.global_batch
    job = TrainingJob(name=name, model=found.model, sequence=length, global_batch=rows, tokens=1.0, precision=chosen)
    if tokens is None:
        step = plan(job, pool, top=1).best.step_s
        tokens = float(max(round(60 * found.minutes / step), LEAST_STEPS) * rows * length)
    return replace(job, tokens=tokens), found.note


def _length(given: int | None, usual: int) -> int:
    if given is not None and given < 1:
        raise UserError(f"--sequence is {given}; it must be at least 1")
    return usual if given is None else given


def _rows(batch: int | None, length: int) -> int | None:
    if batch is None:
        return None
    if batch < length:
        raise UserError(f"--batch is {batch} tokens, less than one sequence of {length}")
    return batch // length
