"""From a plan (`ayllu fleet plan … --json`) to the machines of a job."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.train.distributed.layout import Layout, parse_layout

LAYOUT_VARIABLE = "AYLLU_LAYOUT"
"""The environment variable in which a launched process finds its layout, as JSON. How a run is spread belongs to where
it runs and not to what it is, so it is no option of the recipe."""


@dataclass(frozen=True, kw_only=True)
class ReadPlan:
    """A plan, and the line of it that is launched."""

    layout: Layout
    accelerators_per_node: int
    """Of the part that was planned on; 0 where the processors do the work."""
    fields: dict[str, Any]
    """All that `ayllu fleet plan … --json` wrote."""


def read_plan(path: Path, choice: int = 1) -> ReadPlan:
    """The `choice`-th best line of a plan, from 1. Raises UserError on anything that is not a plan."""
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        pool = plan["pools"][0]
        choices = list(pool["choices"])
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; write one with `ayllu fleet plan … --json > {path}`") from None
    except (OSError, ValueError, LookupError, TypeError):
        raise UserError(f"{path}: not a plan; write one with `ayllu fleet plan … --json`") from None
    if not 1 <= choice <= len(choices):
        raise UserError(f"{path}: has {len(choices)} choices, there is no number {choice}")
    try:
        layout = Layout(**choices[choice - 1]["layout"])
        per_node = int(pool.get("accelerators_per_node", 8))
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path}: choice {choice} has no layout that can be ({error})") from None
    if layout.ep > 1:
        raise UserError(
            f"{path}: choice {choice} divides experts (ep {layout.ep}), which the engine does not train yet"
        )
    if plan.get("precision", layout.precision) != layout.precision:
        raise UserError(f"{path}: a plan in {plan['precision']}, which the engine does not compute in; plan again")
    return ReadPlan(layout=layout, accelerators_per_node=min(per_node, layout.devices), fields=plan)


def read_layout(path: Path, choice: int = 1) -> Layout:
    """The layout of the `choice`-th best line of a plan. Raises UserError as `read_plan` does."""
    return read_plan(path, choice).layout


def nodes_of(layout: Layout, per_node: int) -> int:
    """Nodes of `per_node` accelerators that the layout takes. Raises UserError when they would not all be used."""
    if layout.devices < per_node:
        return 1
    if layout.devices % per_node:
        raise UserError(
            f"the plan's layout takes {layout.devices} accelerators, which are no whole nodes of {per_node}; "
            "give --accelerators-per-node"
        )
    return layout.devices // per_node


def layout_words(layout: Layout) -> str:
    """The layout as the value of LAYOUT_VARIABLE."""
    return json.dumps(asdict(layout), separators=(",", ":"))


def layout_from_words(words: str) -> Layout:
    """The inverse of `layout_words`. Raises UserError on what is no layout."""
    try:
        return Layout(**json.loads(words))
    except (TypeError, ValueError) as error:
        raise UserError(f"{LAYOUT_VARIABLE} holds no layout ({error}); unset it, or launch the plan again") from None


def job_layout(layout: Layout | str | None, *, nodes: int = 1) -> Layout | None:
    """How this process's job is spread: as given, in words or not, or as its plan says; None for one process.

    A job that `ayllu fleet launch --plan` started finds its layout in the environment. UserError where there are
    several nodes or processes and none.
    """
    if layout:
        return parse_layout(layout) if isinstance(layout, str) else layout
    if planned := os.environ.get(LAYOUT_VARIABLE):
        return layout_from_words(planned)
    if nodes > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("many processes need to be told how to share the work; add --layout, such as dp_shard=8")
    return None
