"""Rewards: right or wrong whatever the form, and the form apart; held-out items stay out of training."""

from __future__ import annotations

from typing import Any

import pytest

from ayllu.model.sample import Sample
from ayllu.train.objectives.rewards import FORMAT_REWARD, ReasoningTasks, ask, grade


class Sums:
    """A family like those of reasoning-gym, with few questions."""

    name = "sums"

    def item(self, seed: int) -> dict[str, Any]:
        a, b = seed % 7, seed // 1_000_000 % 7
        return {"question": f"{a} + {b} =", "answer": str(a + b)}

    def score(self, answer: str | None, item: dict[str, Any]) -> float:
        return float(answer == item["answer"])


ITEM = {"question": "4 + 3 =", "answer": "7"}


@pytest.mark.parametrize(
    ("text", "correct", "format_"),
    [
        ("<answer>7</answer>", 1, 1),
        (" <answer> 7 </answer>\n", 1, 1),
        ("4 + 3 = 7", 1, 0),
        ("The answer is 7.", 1, 0),
        ("<answer>8</answer>", 0, 1),
        ("<answer>7</answer> or so", 1, 0),
        ("<answer>7", 1, 0),
        ("<answer>9</answer> or <answer>7</answer>", 1, 0),
        ("<answer><answer>7</answer></answer>", 1, 0),
        ("7, or rather 8", 0, 0),
        ("seven", 0, 0),
        ("", 0, 0),
    ],
)
def test_correct_and_format_are_apart(text: str, correct: float, format_: float) -> None:
    found = grade(text, ITEM, Sums())  # type: ignore[arg-type]
    assert (found.correct, found.format) == (correct, format_)
    assert found.total == pytest.approx(correct + FORMAT_REWARD * format_)


def test_form_never_pays_more_than_being_right() -> None:
    assert FORMAT_REWARD < 1


def test_held_out_questions_are_never_trained_on() -> None:
    family = Sums()
    held = [family.item(seed) for seed in (2, 5)]
    tasks = ReasoningTasks(family, None, held_out=held)  # type: ignore[arg-type]
    drawn = [tasks.item(index)["question"] for index in range(50)]
    assert not set(drawn) & {item["question"] for item in held}
    assert drawn == [tasks.item(index)["question"] for index in range(50)]
    assert ask("4 + 3 =").startswith("4 + 3 =\n")


def test_an_answer_that_never_ends_earns_nothing() -> None:
    """Else a model learns to write on after the right number until it is cut off."""

    class Letters:
        def decode(self, ids: list[int]) -> str:
            return bytes(ids).decode()

    tasks = ReasoningTasks(Sums(), Letters(), held_out=[])  # type: ignore[arg-type]
    right = list(tasks.item(3)["answer"].encode())
    ended, cut = (Sample(ids=right, log_probabilities=[], stopped=stopped) for stopped in (True, False))
    assert (tasks.reward(3, ended).correct, tasks.reward(3, ended).total) == (1, 1)
    assert (tasks.reward(3, cut).correct, tasks.reward(3, cut).total) == (1, 0)
