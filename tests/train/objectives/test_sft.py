"""Finetuning on the assistant's turns only, token by token, with shared beginnings computed once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ayllu.text.chat import Message, render_masked
from ayllu.text.tokenizer import Tokenizer
from ayllu.text.tool_calls import Tool, ToolCall
from ayllu.train.objectives.next_token import next_token_loss
from ayllu.train.objectives.sft import (
    ConversationBatch,
    ConversationSource,
    conversation_loss,
    sft_loss,
    with_shared_prefix,
)
from support.models import TINY, sharp_model
from support.training.objectives import conversations, descend, gradients, same_gradients

TOOL = Tool(name="ring", description="Ring a bell", parameters={"type": "object", "properties": {"times": {}}})
CALL = ToolCall(name="ring", arguments={"times": 2})
ASKED = [
    [Message(role="user", content="Ring twice"), Message(role="assistant", tool_calls=(CALL,))],
    [
        Message(role="user", content="Hello"),
        Message(role="assistant", content="Good day."),
        Message(role="user", content="Who are you?"),
        Message(role="assistant", content="A bell."),
    ],
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.learn(["the bell rings and rings again, who are you? good day, hello."] * 3, TINY.vocabulary)


def batch_of(tokenizer: Tokenizer) -> ConversationBatch:
    conversations = with_shared_prefix([render_masked(messages, tokenizer, tools=[TOOL]) for messages in ASKED])
    return ConversationSource([conversations], length=64, seed=0).batch(0, 1)


def test_only_the_assistants_words_and_stops_are_scored(tokenizer: Tokenizer) -> None:
    rows = batch_of(tokenizer).rows
    scored = [rows.targets_N[rows.continuation_N == c].tolist() for c in range(2)]
    call = '{"name": "ring", "parameters": {"times": 2}}'
    expected = [
        [*tokenizer.encode("\n\n" + call)[len(tokenizer.encode("\n\n")) :], tokenizer.eot],
        [
            *tokenizer.encode("\n\nGood day.")[len(tokenizer.encode("\n\n")) :],
            tokenizer.eot,
            *tokenizer.encode("\n\nA bell.")[len(tokenizer.encode("\n\n")) :],
            tokenizer.eot,
        ],
    ]
    assert scored == expected
    # Every scored token is predicted from the id that stands before it in its own conversation.
    flat = rows.ids_BT.flatten()
    for c, messages in enumerate(ASKED):
        ids, predict = render_masked(messages, tokenizer, tools=[TOOL])
        before = [ids[i - 1] for i, wanted in enumerate(predict) if wanted]
        assert flat[rows.places_N[rows.continuation_N == c]].tolist() == before


def test_the_loss_is_that_of_separate_conversations(tokenizer: Tokenizer) -> None:
    model = sharp_model(replace(TINY, context=512, vocabulary=tokenizer.size))
    batch = batch_of(tokenizer)
    loss = conversation_loss(model, batch, torch.float32)
    expected = torch.zeros(())
    for messages in ASKED:
        ids, predict = render_masked(messages, tokenizer, tools=[TOOL])
        log_TV = model(torch.tensor([ids]))[0].log_softmax(-1)
        expected = expected - sum(log_TV[i - 1, ids[i]] for i, wanted in enumerate(predict) if wanted)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-3)
    one, other = gradients(model, loss), gradients(model, expected)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-3, msg=name)
    assert batch.rows.ids_BT.numel() < sum(len(render_masked(m, tokenizer, tools=[TOOL])[0]) for m in ASKED)


def test_it_learns(tokenizer: Tokenizer) -> None:
    model = sharp_model(replace(TINY, context=512, vocabulary=tokenizer.size))
    conversations = with_shared_prefix([render_masked(messages, tokenizer) for messages in ASKED])
    source = ConversationSource([conversations], length=64, seed=0)
    losses = descend(model, conversation_loss, source, steps=30, size=1, lr=1e-2)
    assert losses[-1] < losses[0] / 4


def test_what_cannot_be_learnt_is_refused() -> None:
    with pytest.raises(ValueError, match="says nothing"):
        with_shared_prefix([([1, 2, 3], [False] * 3)])
    with pytest.raises(ValueError, match="no beginning"):
        with_shared_prefix([([1, 2], [False, True]), ([3, 4], [False, True])])
    with pytest.raises(ValueError, match="no conversations"):
        ConversationSource([], length=8, seed=0)


@pytest.mark.usefixtures("small_chunks")
def test_sft_loss_is_the_next_token_loss() -> None:
    model, batch = sharp_model(), conversations()
    loss, whole = sft_loss(model, batch, torch.float32), next_token_loss(model, batch, dtype=torch.float32)
    torch.testing.assert_close(loss, whole)
    same_gradients(gradients(model, loss), gradients(model, whole))
