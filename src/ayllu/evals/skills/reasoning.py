"""Whether a chat model solves tasks that have a checker: each reply, graded as in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ayllu.evals.skills.replies import greedy_replies

if TYPE_CHECKING:
    import torch

    from ayllu.data.conversations.reasoning import Family
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

ANSWER_TOKENS = 48
"""Most ids of an answer to a task."""


def score_reasoning(
    model: Transformer,
    tokenizer: Tokenizer,
    family: Family,
    items: Sequence[dict[str, Any]],
    *,
    dtype: torch.dtype,
) -> list[dict[str, Any]]:
    """For each item the reply, whether it is right in whatever form, and whether it has the form."""
    from ayllu.text.chat import Message, render
    from ayllu.text.template import FIXED_DAY
    from ayllu.train.objectives.rewards import ask, grade

    asked = [[Message(role="user", content=ask(item["question"]))] for item in items]
    prompts = [render(messages, tokenizer, now=FIXED_DAY) for messages in asked]
    texts = greedy_replies(model, tokenizer, prompts, tokens=ANSWER_TOKENS, dtype=dtype, title=family.name)
    rows = []
    for item, text in zip(items, texts, strict=True):
        reward = grade(text, item, family)
        rows.append(
            {
                "question": item["question"],
                "reply": text,
                "correct": bool(reward.correct),
                "format": bool(reward.format),
            }
        )
    return rows
