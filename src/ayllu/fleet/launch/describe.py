"""From a recipe and what the user says of the machines, or a plan, to the job that is handed in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ayllu.fleet.launch.batch_job import BatchJob
from ayllu.lab.error import UserError


def describe(
    recipe: str,
    *,
    known: Collection[str],
    parameters: Callable[[str], Collection[str]],
    name: str | None = None,
    plan: Path | None = None,
    choice: int = 1,
    nodes: int | None = None,
    processes_per_node: int | None = None,
    accelerators_per_node: int | None = None,
    variables: Sequence[str] = (),
    options: Sequence[str] = (),
    **given: Any,
) -> BatchJob:
    """The job; `variables` as NAME=VALUE, `given` are other fields of `BatchJob`.

    A plan says how many nodes; its layout goes to the job as a variable, and what else it computed as options of the
    recipe, whose `parameters` are asked for. Raises UserError on a recipe that is none of the `known`, for a mistyped
    one must not wait in a queue first, and on figures that cannot be.
    """
    if recipe not in known:
        raise UserError(f"there is no recipe {recipe!r}; choose one of {', '.join(sorted(known))}")
    environment = dict(pair.split("=", 1) for pair in variables if "=" in pair)
    if len(environment) != len(variables):
        raise UserError("launch: give every --env once, as NAME=VALUE")
    if plan is None and choice != 1:
        raise UserError("launch: --choice is one of a plan's; give --plan")
    if plan is not None and nodes is not None:
        raise UserError("launch: the plan says how many nodes; leave out --nodes or --plan")
    accelerators = accelerators_per_node or 0
    job = BatchJob(
        recipe=recipe,
        name=name or recipe.rpartition("/")[2].removesuffix(".py").replace("_", "-").lower(),
        nodes=1 if nodes is None else nodes,
        processes_per_node=max(accelerators, 1) if processes_per_node is None else processes_per_node,
        accelerators_per_node=accelerators,
        environment=environment,
        options=tuple(options),
        **given,
    )
    if plan is None:
        return job
    return _as_planned(job, plan, choice, accelerators_per_node, processes_per_node, parameters(recipe))


def _as_planned(
    job: BatchJob,
    path: Path,
    choice: int,
    accelerators: int | None,
    processes: int | None,
    parameters: Collection[str],
) -> BatchJob:
    """`job` on the machines, with the layout and on the figures of a plan."""
    from ayllu.fleet.launch.planned_layout import LAYOUT_VARIABLE, layout_words, nodes_of, read_plan
    from ayllu.fleet.launch.planned_options import planned_options

    plan = read_plan(path, choice)
    if LAYOUT_VARIABLE in job.environment:
        raise UserError(f"launch: the plan says the layout; leave out --env {LAYOUT_VARIABLE} or --plan")
    if accelerators is None:
        accelerators = plan.accelerators_per_node
    nodes = nodes_of(plan.layout, accelerators or processes or plan.layout.devices)
    if processes is not None and nodes * processes != plan.layout.devices:
        raise UserError(
            f"launch: the plan's layout takes {plan.layout.devices} processes on {nodes} nodes; "
            "leave out --processes-per-node"
        )
    words = planned_options(plan.fields, choice, job.recipe, parameters=parameters, given=job.options)
    return replace(
        job,
        nodes=nodes,
        processes_per_node=plan.layout.devices // nodes,
        accelerators_per_node=accelerators,
        environment={**job.environment, LAYOUT_VARIABLE: layout_words(plan.layout)},
        options=(*job.options, *words),
    )
