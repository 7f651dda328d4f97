"""The items of a task: its rows, with examples before them, as prompts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ayllu.evals.standard.rows import Reader
from ayllu.evals.standard.task import Asked, Prompt, Row, Shots, Task
from ayllu.evals.suite import lowest
from ayllu.lab.error import UserError

SHOT_SEED = 1234
"""What lm-eval draws examples with by default."""


def chosen_rows(task: Task, reader: Reader, items: int | None) -> list[tuple[str, Row]]:
    """Ids and rows: all of them, or the `items` whose ids hash lowest, in order. UserError for missing ones."""
    rows = task.rows(reader)
    if len(rows) != task.items:
        raise UserError(f"{task.name} has {len(rows)} items instead of {task.items}: delete its archive and run again")
    named = {f"{task.name}/{number}": row for number, row in enumerate(rows)}
    return [(key, named[key]) for key in lowest(list(named), items)]


def prompts_of(
    task: Task, reader: Reader, rows: Sequence[tuple[str, Row]], *, shots: int | None = None
) -> list[Prompt]:
    """Prompts of rows. UserError for examples where the task has none."""
    number = task.default_shots if shots is None else shots
    if number and task.shots is None:
        raise UserError(f"{task.name} has no examples to show: ask it with 0 shots")
    before = _examples(task.shots, reader, [row for _, row in rows], number) if task.shots and number else None
    found = []
    for key, row in rows:
        head = task.head(row) + (next(before) if before else "")
        found.append(Prompt(id=key, task=task.name, asked=_behind(head, task.ask(row)), row=row, plain=task.plain(row)))
    return found


def _behind(head: str, asked: Asked) -> Asked:
    return replace(asked, pairs=tuple((head + given, scored) for given, scored in asked.pairs)) if head else asked


def _examples(shots: Shots, reader: Reader, rows: Sequence[Row], number: int) -> Iterator[str]:
    draw = random.Random(SHOT_SEED)
    for row in rows:
        pool = shots.examples(reader, row)
        if len(pool) < number:
            raise UserError(f"there are {len(pool)} examples to show, not {number}: ask for fewer")
        taken = draw.sample(list(pool), number) if shots.drawn else pool[:number]
        yield "".join(f"{shots.write(example)}\n\n" for example in taken)
