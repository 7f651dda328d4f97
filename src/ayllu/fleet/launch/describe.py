"""From a recipe and what the user says of the machines, or a plan, to the job that is handed in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ayllu.fleet.launch.batch_job import BatchJob
from ayllu.lab.error import UserError


def describe(
    recipe: str,
    *,
    known: Collection[str],
    name: str | None = None,
    plan: Path | None = None,
    choice: int = 1,
    nodes: int | None = None,
    processes_per_node: int | None = None,
    accelerators_per_node: int | None = None,
    variables: Sequence[str] = (),
    **given: Any,
) -> BatchJob:
    """The job; `variables` as NAME=VALUE, `given` are other fields of `BatchJob`.

    A plan says how many nodes, and its layout goes to the job as a variable. Raises UserError on a recipe that is none
    of the `known`, for a mistyped one must not wait in a queue first, and on figures that cannot be.
    """
    if recipe not in known:
        raise UserError(f"there is no recipe {recipe!r}; choose one of {', '.join(sorted(known))}")
    environment = dict(pair.split("=", 1) for pair in variables if "=" in pair)
    if len(environment) != len(variables):
        raise UserError("launch: give every --env once, as NAME=VALUE")
    if plan is not None:
        from ayllu.fleet.launch.planned_layout import LAYOUT_VARIABLE, layout_words, nodes_of, read_layout

        if nodes is not None:
            raise UserError("launch: the plan says how many nodes; leave out --nodes or --plan")
        layout = read_layout(plan, choice)
        accelerators_per_node = accelerators_per_node or min(layout.devices, 8)
        nodes = nodes_of(layout, accelerators_per_node)
        environment[LAYOUT_VARIABLE] = layout_words(layout)
    accelerators = accelerators_per_node or 0
    return BatchJob(
        recipe=recipe,
        name=name or recipe.rpartition("/")[2].removesuffix(".py").replace("_", "-").lower(),
        nodes=1 if nodes is None else nodes,
        processes_per_node=max(accelerators, 1) if processes_per_node is None else processes_per_node,
        accelerators_per_node=accelerators,
        environment=environment,
        **given,
    )
