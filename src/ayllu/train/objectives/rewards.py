"""Verifiable tasks as prompts and rewards: what `ayllu.train.objectives.grpo` learns from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ayllu.data.conversations.reasoning import Family
from ayllu.data.conversations.worked import worked_sum
from ayllu.model.sample import Sample
from ayllu.text.chat import Message, render, render_masked
from ayllu.text.template import FIXED_DAY
from ayllu.text.template_mask import Masked
from ayllu.text.tokenizer import Tokenizer
from ayllu.train.objectives.grpo import Reward

INSTRUCTION = "Give only the number, between <answer> and </answer>."
FORMAT_REWARD = 0.2
"""What the asked-for form earns beside the 1 of a right answer: less than any answer is worth, so that it cannot be
learnt instead of it."""
_FORM = re.compile(r"\s*<answer>\s*([^<>]*?)\s*</answer>\s*")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_MINUS = dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2013\ufe63\uff0d"), "-")
"""Characters that are written for a minus sign."""
_THIN = re.compile(r"(?<=\d)[\u00a0\u2009\u202f'](?=\d{3}(?!\d))")
"""Between thousands, where no comma stands."""


def ask(question: str) -> str:
    """A question with the form that its answer should have."""
    return f"{question}\n{INSTRUCTION}"


def grade(text: str, item: dict[str, Any], family: Family) -> Reward:
    """Whether a reply is right and whether it has the form, one apart from the other.

    A reply is right where its last number is, with or without the form: what is learnt of the form alone changes
    `format`, never `correct`, and whoever shows the work is not punished for it. (The scorer of reasoning-gym's
    gsm_symbolic takes the first number, loses its sign and reads 1,042 as 1; this reads signs and thousands.)
    """
    text = _THIN.sub("", text.translate(_MINUS))
    form = _FORM.fullmatch(text)
    said = form[1] if form else text
    answers = [*([said] if form else []), *_NUMBER.findall(said)[-1:]]
    correct = float(any(family.score(answer, item) == 1.0 for answer in answers))
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

    def worked(self, index: int) -> Masked:
        """Ids of item `index`, a sum, with a reply that works it out, and which of them are the reply's."""
        item = self.item(index)
        asked = Message(role="user", content=ask(item["question"]))
        reply = Message(role="assistant", content=worked_sum(item["metadata"]["expression"]))
        return render_masked([asked, reply], self._tokenizer, now=FIXED_DAY)

    def reward(self, index: int, answer: Sample) -> Reward:
        """What `answer` earns; one that was cut off earns nothing, or the model would learn never to end."""
        found = grade(self._tokenizer.decode(answer.ids), self.item(index), self.family(index))
        return found if answer.stopped else replace(found, total=0.0)
