"""The grids of ARC-AGI as text: a model sees all pairs that a puzzle shows and writes the grid that is asked.

One answer, written greedily; ARC's own rules allow two. Weights may have read the puzzles, which stand in public
repositories; `ayllu.evals.arc` has solvers that have read nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ayllu.evals.arc.tasks import FILES, Grid, read_puzzles
from ayllu.evals.standard.rows import Reader
from ayllu.evals.standard.task import Asked, Generation, Row, Task

ITEMS = {"arc-agi-1": 419, "arc-agi-2": 167}
SOURCES = {"arc-agi-1": "Chollet 2019, arXiv:1911.01547", "arc-agi-2": "Chollet et al. 2025, arXiv:2505.11831"}
LONGEST = 1_860
"""Tokens of a grid of 30 × 30 where each digit and each space between two is one, and some more."""


def grid_text(grid: Grid) -> str:
    """A line for each row, a space between two colours."""
    return "\n".join(" ".join(str(colour) for colour in row) for row in grid.tolist())


def grid_asked(row: Row) -> Asked:
    """All pairs that are shown, and the grid whose answer is wanted."""
    return Asked(pairs=((f"{row['shown']}Input:\n{row['given']}\nOutput:\n", str(row["wanted"])),))


def same_grid(row: Row, text: str) -> Mapping[str, float]:
    """1 where the numbers of the text are those of the grid, line by line."""
    lines = [line.split() for line in text.strip().splitlines()]
    return {"exact_match": float(lines == [line.split() for line in row["wanted"].splitlines()])}


def _rows(reader: Reader, name: str) -> list[Row]:
    return [
        {
            "puzzle": puzzle.id,
            "shown": "".join(
                f"Input:\n{grid_text(pair.given)}\nOutput:\n{grid_text(pair.wanted)}\n\n" for pair in puzzle.shown
            ),
            "given": grid_text(pair.given),
            "wanted": grid_text(pair.wanted),
        }
        for puzzle in read_puzzles(name, "evaluation", cache=reader.cache)
        for pair in puzzle.asked
    ]


PUZZLES: tuple[Task, ...] = tuple(
    Task(
        name=name.replace("-", "_"),
        title=name.upper(),
        part="public evaluation",
        licence="Apache-2.0",
        source=SOURCES[name],
        mode="generate",
        rows=partial(_rows, name=name),
        items=ITEMS[name],
        ask=grid_asked,
        metrics=("exact_match",),
        plain=lambda row: f"{row['given']}\n{row['wanted']}",
        generation=Generation(until=("\n\n", "Input:"), most=LONGEST),
        check=same_grid,
        cluster="puzzle",
    )
    for name in FILES
)
