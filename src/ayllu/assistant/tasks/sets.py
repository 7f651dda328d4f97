"""The sets of tasks by name."""

from __future__ import annotations

import json
from importlib import resources
from typing import Literal

from ayllu.assistant.tasks.drawn import SEED, drawn_tasks
from ayllu.assistant.tasks.task import Task
from ayllu.lab.error import UserError

SetName = Literal["everyday", "drawn", "steps", "dev"]
"""50 tasks of one tool, which were first read after the run of 29 November 2026; 50 that a seed draws; ten of several
tools; and those that tools were made with."""


def load_tasks(name: SetName, *, seed: int | None = None) -> list[Task]:
    """The tasks of a set; those that are `drawn` by a seed, unless one is given by that which is written down."""
    if name == "drawn":
        return drawn_tasks(SEED if seed is None else seed)
    if seed is not None:
        raise UserError(f"--seed is for drawn tasks, and {name} are fixed; give --tasks drawn")
    text = (resources.files("ayllu.assistant.tasks") / f"{name}.json").read_text(encoding="utf-8")
    return [Task(**entry) for entry in json.loads(text)]
