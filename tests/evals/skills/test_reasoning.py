"""The scoring of tasks: right is right in whatever form, and the form is counted apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ayllu.data.archive import default_cache
from ayllu.data.conversations.reasoning import Family, distinct_items
from ayllu.evals.skills import reasoning
from ayllu.evals.skills.reasoning import score_reasoning
from ayllu.model.transformer import Transformer
from ayllu.text.chat import Message, render
from ayllu.text.tokenizer import Tokenizer
from ayllu.train.objectives.rewards import ask


@pytest.mark.parametrize(
    ("reply", "correct", "form"),
    [
        ("<answer>{answer}</answer>", True, True),
        ("It is {answer}.", True, False),
        ("<answer>{wrong}</answer>", False, True),
        ("It is {wrong}.", False, False),
        ("I do not know.", False, False),
        ("", False, False),
    ],
)
def test_right_and_form_are_two_verdicts(
    monkeypatch: pytest.MonkeyPatch, model: Transformer, tokenizer: Tokenizer, reply: str, correct: bool, form: bool
) -> None:
    family = Family("chain_sum", default_cache())
    items = distinct_items(family, 3, held_out=True)
    replies = [reply.format(answer=item["answer"], wrong=int(item["answer"]) + 1) for item in items]
    given: list[Any] = []

    def answer(*arguments: Any, **_: Any) -> list[str]:
        given.extend(arguments[2])
        return replies

    monkeypatch.setattr(reasoning, "greedy_replies", answer)
    rows = score_reasoning(model, tokenizer, family, items, dtype=torch.float32)
    assert rows == [
        {"question": item["question"], "reply": said, "correct": correct, "format": form}
        for item, said in zip(items, replies, strict=True)
    ]
    assert given == [render([Message(role="user", content=ask(item["question"]))], tokenizer) for item in items]
