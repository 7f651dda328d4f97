"""Replies in batches: each prompt gets its own, the likeliest, whatever stands beside it."""

from __future__ import annotations

import pytest
import torch

from ayllu.evals.skills import replies
from ayllu.evals.skills.replies import batches, greedy_replies
from ayllu.model.transformer import Transformer
from ayllu.text.tokenizer import Tokenizer


def test_batches_of_like_length_give_each_prompt_its_likeliest_reply(
    monkeypatch: pytest.MonkeyPatch, model: Transformer, tokenizer: Tokenizer
) -> None:
    monkeypatch.setattr(replies, "BATCH_PROMPTS", 2)
    texts = ["The children walked to the river", "A man", "Pour the water into the pot", "She", "Question: How do you"]
    prompts = [tokenizer.encode(text) for text in texts]
    found = greedy_replies(model, tokenizer, prompts, tokens=6, dtype=torch.float32, title="test")

    def likeliest(ids: list[int]) -> str:
        ids = list(ids)
        start = len(ids)
        while len(ids) < start + 6:
            with torch.no_grad():
                following = int(model(torch.tensor([ids]))[0, -1].argmax())
            if following in tokenizer.stops:
                break
            ids.append(following)
        return tokenizer.decode(ids[start:])

    assert found == [likeliest(prompt) for prompt in prompts]
    assert len(set(found)) > 1, "the order could not be seen otherwise"


def test_few_long_prompts_are_answered_together_and_many_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "BATCH_PROMPTS", 3)
    monkeypatch.setattr(replies, "BATCH_IDS", 40)
    sizes = [30, 5, 100, 6, 20, 7, 8, 19]
    assert list(batches(sizes)) == [[1, 3, 5], [6, 7], [4], [0], [2]]
    assert list(batches([])) == []
