"""Verifiable tasks as prompts and rewards: what `ayllu.train.objectives.grpo` learns from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ayllu.data.conversations.reasoning import Family
from ayllu.model.sample import Sample
from ayllu.text.chat import Message, render
from ayllu.text.template import FIXED_DAY
from ayllu.text.tokenizer import Tokenizer
from ayllu.train.objectives.grpo import Reward

INSTRUCTION = "Give only the number, between <answer> and </answer>."
FORMAT_REWARD = 0.2
"""What the asked-for form earns beside the 1 of a right answer: less than any answer is worth, so that it cannot be
learnt instead of it."""
_FORM = re.compile(r"\s*<answer>\s*([^<>]*?)\s*</answer>\s*")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def ask(question: str) -> str:
    """A question with the form that its answer should have."""
    return f"{question}\n{INSTRUCTION}"


def grade(text: str, item: dict[str, Any], family: Family) -> Reward:
    """Whether a reply is right and whether it has the form, one apart from the other.

    A reply without the form is right where its last number is: what is learnt of the form alone changes `format`,
    never `correct`.
    """
    form = _FORM.fullmatch(text)
    numbers = _NUMBER.findall(text)
    answer = form[1] if form else numbers[-1] if numbers else None
    correct = float(family.score(answer, item) == 1.0)
    return Reward(correct=correct, format=float(form is not None), total=correct + FORMAT_REWARD * (form is not None))


class ReasoningTasks:
    """Items of the training side of some families, which take turns."""

    def __init__(self, families: Sequence[Family], tokenizer: Tokenizer, *, seed: int = 0) -> None:
        self._families, self._tokenizer, self._seed = families, tokenizer, seed

    def family(self, index: int) -> Family:
        """Which family item `index` comes from."""
        return self._families[index % len(self._families)]

    def item(self, index: int) -> dict[str, Any]:
        """Item `index`, never a question that is held out."""
        return self.family(index).item(self._seed * 10_000_000 + index)

    def prompt(self, index: int) -> list[int]:
        """Ids up to where the reply begins."""
        asked = Message(role="user", content=ask(self.item(index)["question"]))
        return render([asked], self._tokenizer, now=FIXED_DAY)

    def reward(self, index: int, answer: Sample) -> Reward:
        """What `answer` earns; one that was cut off earns nothing, or the model would learn never to end."""
        found = grade(self._tokenizer.decode(answer.ids), self.item(index), self.family(index))
        return found if answer.stopped else replace(found, total=0.0)
