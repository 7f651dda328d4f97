"""A conversation: what is remembered of it when the context is full, and when an answer is stopped."""

from __future__ import annotations

import pytest

from ayllu.model.sampling import Sampling
from ayllu.serve.conversation import Conversation
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.text.chat import Message
from support.serving.server import Watched


def converse(engine: TorchEngine, **options: object) -> Conversation:
    given = {"system": None, "sampling": Sampling(seed=1), "max_tokens": 10} | options
    return Conversation(engine, **given)  # type: ignore[arg-type]


def test_a_long_conversation_forgets_its_oldest_turns_and_keeps_the_system_message(engine: TorchEngine) -> None:
    conversation = converse(engine, system="Be kind.")
    dropped = 0
    for i in range(15):
        assert all(isinstance(text, str) for text in conversation.ask(f"This is the message with number {i}."))
        dropped += conversation.dropped
        assert conversation.usage["prompt_tokens"] + conversation.usage["completion_tokens"] <= engine.context
    assert dropped == 30 - len(conversation.messages) > 0
    assert conversation.messages[0].role == "user"
    assert conversation.system == "Be kind."


def test_a_message_that_does_not_fit_leaves_the_conversation_as_it_was(engine: TorchEngine) -> None:
    conversation = converse(engine)
    list(conversation.ask("Hello"))
    before = list(conversation.messages)
    with pytest.raises(ValueError, match="shorten it"):
        list(conversation.ask("word " * 500))
    assert conversation.messages == before


def test_what_was_heard_of_a_stopped_answer_stays(engine: TorchEngine) -> None:
    conversation = converse(Watched(engine), max_tokens=100)
    answer = conversation.ask("Hello")
    heard = next(answer)
    answer.close()
    assert conversation.messages[-1] == Message(role="assistant", content=heard)
    assert conversation.usage["completion_tokens"] < 20
