"""Rewards: right or wrong whatever the form, and the form apart; what is learnt from is never held out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.data.archive import default_cache
from ayllu.data.conversations.reasoning import Family, is_held_out
from ayllu.model.sample import Sample
from ayllu.text.tokenizer import Tokenizer
from ayllu.train.objectives.rewards import FORMAT_REWARD, ReasoningTasks, ask, grade


class Sums:
    """A family like those of reasoning-gym, with few questions."""

    name = "sums"

    def item(self, seed: int, *, held_out: bool = False) -> dict[str, Any]:
        assert not held_out, "training asks for the training side"
        a, b = seed % 7, seed // 7 % 7
        return {"question": f"{a} + {b} =", "answer": str(a + b)}

    def score(self, answer: str | None, item: dict[str, Any]) -> float:
        return float(answer == item["answer"])


SHORT = {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 1}
LONG = {"min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 3}
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
        ("<answer>4 + 3 = 7</answer>", 1, 1),
        ("<answer>7 = 4 + 3</answer>", 0, 1),
        ("7, or rather 8", 0, 0),
        ("seven", 0, 0),
        ("", 0, 0),
    ],
)
def test_correct_and_format_are_apart(text: str, correct: float, format_: float) -> None:
    found = grade(text, ITEM, Sums())  # type: ignore[arg-type]
    assert (found.correct, found.format) == (correct, format_)
    assert found.total == pytest.approx(correct + FORMAT_REWARD * format_)


WRITTEN = (
    "{}",
    "{}.",
    "**{}**",
    "$\\boxed{{{}}}$",
    "The sum is {}.",
    "First 12 + 30, and then 5 more: the result is {}",
    "<answer>{}</answer>",
    "<answer> {}</answer>",
    "<answer>1 + 2 = {}</answer>",
)


@given(
    number=st.integers(-9_999_999, 9_999_999),
    wrong=st.integers(1, 40),
    written=st.sampled_from(WRITTEN),
    separator=st.sampled_from(["", ",", "\u202f", "\u00a0", "'"]),
    minus=st.sampled_from("-\u2212\u2013"),
)
@settings(max_examples=300, deadline=None)
def test_a_number_is_read_however_it_is_written(
    number: int, wrong: int, written: str, separator: str, minus: str
) -> None:
    """By reasoning-gym's own scorer, which gives part of a point for what is near."""
    family = Family("chain_sum", default_cache(), LONG)
    item = {"question": "", "answer": str(number), "metadata": {}}

    def said(value: int) -> str:
        digits = f"{abs(value):,}".replace(",", separator)
        return written.format((minus if value < 0 else "") + digits)

    assert grade(said(number), item, family).correct == 1
    assert grade(said(number + wrong), item, family).correct == 0
    if number:
        assert grade(said(-number), item, family).correct == 0


def test_form_never_pays_more_than_being_right() -> None:
    assert FORMAT_REWARD < 1


def test_tasks_come_from_the_training_side_and_families_take_turns() -> None:
    short, long = Family("chain_sum", default_cache(), SHORT), Family("chain_sum", default_cache(), LONG)
    tasks = ReasoningTasks([short, short, long], None, seed=3)  # type: ignore[arg-type]
    drawn = [tasks.item(index)["question"] for index in range(300)]
    assert not any(map(is_held_out, drawn))
    assert drawn == [tasks.item(index)["question"] for index in range(300)]
    digits = [max(len(word) for word in question.split() if word.isdigit()) for question in drawn]
    assert [at % 3 == 2 for at in range(300)] == [count > 1 for count in digits]
    assert ask("4 + 3 =").startswith("4 + 3 =\n")


def test_an_answer_that_never_ends_earns_nothing() -> None:
    """Else a model learns to write on after the right number until it is cut off."""

    class Letters:
        def decode(self, ids: list[int]) -> str:
            return bytes(ids).decode()

    tasks = ReasoningTasks([Sums()], Letters())  # type: ignore[arg-type,list-item]
    right = list(tasks.item(3)["answer"].encode())
    ended, cut = (Sample(ids=right, log_probabilities=[], stopped=stopped) for stopped in (True, False))
    assert (tasks.reward(3, ended).correct, tasks.reward(3, ended).total) == (1, 1)
    assert (tasks.reward(3, cut).correct, tasks.reward(3, cut).total) == (1, 0)


def test_a_sum_worked_out_stands_behind_its_prompt_and_earns_what_a_right_answer_does() -> None:
    tokenizer = Tokenizer.learn(["State the final answer to the problem: 12 + 7 - 345 = 60, 8, 9"] * 3, 600)
    tasks = ReasoningTasks([Family("chain_sum", default_cache(), SHORT)], tokenizer)
    for index in range(40):
        ids, produced = tasks.worked(index)
        prompt = tasks.prompt(index)
        assert ids[: len(prompt)] == prompt
        assert produced == [False] * len(prompt) + [True] * (len(ids) - len(prompt))
        reply = Sample(ids=ids[len(prompt) :], log_probabilities=[], stopped=True)
        assert ids[-1] in tokenizer.stops
        assert tasks.reward(index, reply).correct == 1
