"""From a name on the command line to what is trained: a recipe, a model by name, or a folder's configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ayllu.fleet.catalogue import PRECISIONS, Pool, Precision
from ayllu.fleet.experts import expert_models, read_expert_config
from ayllu.fleet.planner.plan import plan
from ayllu.fleet.planner.training_job import RecipePlan, TrainingJob, default_batch, parameters_seen
from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig
from ayllu.model.presets import PRESETS

SEQUENCE = 8192
"""Tokens of a sequence where neither the user nor the model's context says less."""
LEAST_STEPS = 20
"""As many as `ayllu.train.budget` makes at least."""


def find_job(
    name: str,
    pool: Pool,
    *,
    recipes: Mapping[str, RecipePlan],
    tokens: float | None = None,
    sequence: int | None = None,
    batch: int | None = None,
    precision: Precision | None = None,
    budget: float | None = None,
    adapter_rank: int | None = None,
) -> tuple[TrainingJob, str | None]:
    """The job of that name on `pool`, and a note on it; `batch` in tokens, `budget` in minutes of a recipe.

    `recipes` are those that `ayllu run` takes: they lie on a floor above this one. Raises UserError for an unknown
    name, with those that are known, and for figures that cannot be.
    """
    if precision is not None and precision not in PRECISIONS:
        raise UserError(f"no precision is called {precision!r}; choose among {', '.join(PRECISIONS)}")
    if adapter_rank is not None and adapter_rank < 1:
        raise UserError(f"--adapter-rank is {adapter_rank}; it must be at least 1, or left out to train all weights")
    rank = adapter_rank or 0
    chosen = precision or pool.accelerator.training_precision
    if name not in recipes:
        if budget is not None:
            raise UserError(f"--budget is for recipes ({', '.join(recipes) or 'none is known'}); give {name} --tokens")
        model = find_model_config(name, recipes=tuple(recipes))
        length = _length(sequence, min(SEQUENCE, model.context))
        rows = _rows(batch, length) or default_batch(model, length)
        wanted = tokens if tokens is not None else 20.0 * parameters_seen(model)
        job = TrainingJob(
            name=name,
            model=model,
            sequence=length,
            global_batch=rows,
            tokens=wanted,
            precision=chosen,
            adapter_rank=rank,
        )
        return job, None
    if budget is not None and tokens is not None:
        raise UserError("--budget and --tokens both say how long the run is; leave one out")
    found = recipes[name](pool, chosen, budget)
    length = _length(sequence, found.sequence)
    rows = _rows(batch, length) or found.global_batch
    job = TrainingJob(
        name=name,
        model=found.model,
        sequence=length,
        global_batch=rows,
        tokens=1.0,
        precision=chosen,
        adapter_rank=rank,
    )
    if tokens is None:
        step = plan(job, pool, top=1).best.step_s
        tokens = float(max(round(60 * found.minutes / step), LEAST_STEPS) * rows * length)
    return replace(job, tokens=tokens), found.note


def find_model_config(name: str, *, recipes: Sequence[str] = ()) -> ModelConfig:
    """A preset or a published mixture of experts by name, a rung of the small models' ladder (`ladder-4x256`), or the
    configuration in a folder, or in a file of any name.

    Raises UserError when there is none of them; `recipes` are names that the caller takes too.
    """
    if name.lower() in PRESETS:
        return PRESETS[name.lower()]
    if name.lower() in expert_models():
        return expert_models()[name.lower()]
    if name.startswith("ladder-"):
        return _rung(name)
    folder = Path(name)
    if folder.exists():
        from ayllu.model.files.hf_config import load_config

        try:
            return read_expert_config(folder) or load_config(folder)
        except ValueError as error:
            raise UserError(f"plan: {error}") from error
    told = f"recipes are {', '.join(recipes)}; " if recipes else ""
    raise UserError(
        f"no {'recipe or ' if recipes else ''}model is called {name!r} and no such folder exists; {told}models are "
        f"{', '.join((*PRESETS, *expert_models()))}, and the ladder's rungs, such as ladder-4x256"
    )


def _rung(name: str) -> ModelConfig:
    from ayllu.train.ladder import LADDER

    rungs = {f"ladder-{layers}x{width}": rung for rung in LADDER for layers, width in (rung[:2],)}
    if name not in rungs:
        raise UserError(f"no rung is called {name!r}; the rungs are {', '.join(rungs)}")
    layers, width, heads, kv_heads, feed_forward = rungs[name]
    return ModelConfig(
        vocabulary=4096,
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        feed_forward=feed_forward,
        context=1024,
        tied=True,
    )


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
