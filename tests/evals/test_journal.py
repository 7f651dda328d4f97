"""The answers so far: a damaged line costs itself alone, and two runs share one file."""

from __future__ import annotations

from pathlib import Path

from ayllu.evals.journal import Journal
from ayllu.evals.profile.answers import Answer

OWNER = {"weights": "a"}


def opened(path: Path, owner: dict[str, str] = OWNER) -> Journal[Answer]:
    return Journal(path, owner, Answer.from_json)


def answer(number: int, reply: str = "1") -> Answer:
    return Answer(id=f"row/generator/1/{number}/gen", digest="d", mode="gen", reply=reply)


def test_a_line_that_a_killed_run_left_half_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    journal = opened(path)
    for number in range(4):
        journal.add(answer(number))
    head, *lines = path.read_text().splitlines()
    # Killed within its second answer while another run went on: both of its texts are in one line.
    path.write_text("\n".join([head, lines[0], lines[1][:20] + lines[2], lines[3]]) + "\n")
    again = opened(path)
    assert again.outcomes == {one.id: one for one in (answer(0), answer(3))}
    assert path.read_text().splitlines() == [head, lines[0], lines[3]]


def test_two_runs_of_one_owner_lose_none_of_their_answers(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    first = opened(path)
    first.add(answer(0, "1" * 20_000))
    before = path.stat().st_ino
    second = opened(path)
    assert path.stat().st_ino == before  # else what the first writes meanwhile would be gone
    first.add(answer(1))
    second.add(answer(2))
    assert set(opened(path).outcomes) == {answer(number).id for number in range(3)}


def test_answers_of_another_owner_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    opened(path).add(answer(0))
    assert not opened(path, {"weights": "b"}).outcomes
