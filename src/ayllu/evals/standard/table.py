"""The standard sets by name, and the suites that they make."""

from __future__ import annotations

from ayllu.evals.standard.choices import CHOICES
from ayllu.evals.standard.puzzles import PUZZLES
from ayllu.evals.standard.task import Task
from ayllu.evals.standard.texts import TEXTS
from ayllu.lab.error import UserError

TASKS: dict[str, Task] = {task.name: task for task in (*CHOICES, *TEXTS, *PUZZLES)}
"""Name to task."""
SUITES = ("standard", "full")
"""Words for all of them."""


ABSENT = {
    "wikitext": "its text (WikiText-2) is in no registry that this reads",
    "pile_10k": "its text is in no registry that this reads",
    "c4": "its text is in no registry that this reads",
    "truthfulqa_mc2": "its questions are in no registry that this reads",
}
"""Sets that a standard suite of others has, and that cannot be had here: said, never left out in silence."""


def find_tasks(names: str) -> tuple[Task, ...]:
    """Tasks by names with commas between, or all for `standard`. UserError for an unknown one."""
    found: dict[str, Task] = {}
    for name in (part.strip() for part in names.split(",")):
        if name in SUITES:
            found |= TASKS
        elif name.replace("-", "_") in TASKS:
            found[name.replace("-", "_")] = TASKS[name.replace("-", "_")]
        else:
            raise UserError(f"no suite is called {name}: choose small, standard or one of {', '.join(TASKS)}")
    return tuple(found.values())
