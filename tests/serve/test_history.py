from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayllu.serve.history import ContextFull, fit_to_context
from ayllu.text.chat import Message, render
from ayllu.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer.learn(["The llama walks up the hill."] * 20, 512)
SYSTEM = Message(role="system", content="Be brief.")


def conversation(turns: int) -> list[Message]:
    return [Message(role=role, content=f"{role} says {i}") for i in range(turns) for role in ("user", "assistant")] + [
        Message(role="user", content="last")
    ]


def test_a_conversation_that_fits_is_left_alone() -> None:
    messages = [SYSTEM, *conversation(2)]
    fitted = fit_to_context(messages, TOKENIZER, context=2000)
    assert (fitted.prompt, fitted.dropped) == (render(messages, TOKENIZER), 0)


@given(turns=st.integers(0, 12), context=st.integers(80, 700), tokens=st.none() | st.integers(1, 500))
def test_the_oldest_whole_turns_go_and_no_more_than_needed(turns: int, context: int, tokens: int | None) -> None:
    messages = [SYSTEM, *conversation(turns)]
    fitted = fit_to_context(messages, TOKENIZER, context=context, max_tokens=tokens)
    assert fitted.dropped % 2 == 0
    kept = [SYSTEM, *messages[1 + fitted.dropped :]]
    assert kept[1].role == "user"
    assert kept[-1].content == "last"
    assert fitted.prompt == render(kept, TOKENIZER)
    reserve = min(tokens or context, context // 4)
    if len(kept) > 2:
        assert len(fitted.prompt) + reserve <= context
    if fitted.dropped:
        one_more = [SYSTEM, *messages[1 + fitted.dropped - 2 :]]
        assert len(render(one_more, TOKENIZER)) + reserve > context


def test_a_last_message_that_leaves_no_room_is_refused() -> None:
    long = Message(role="user", content="word " * 200)
    with pytest.raises(ContextFull, match="maximum context length is 100 tokens; shorten it"):
        fit_to_context([SYSTEM, *conversation(3), long], TOKENIZER, context=100)


def test_trimming_can_be_off() -> None:
    with pytest.raises(ContextFull):
        fit_to_context(conversation(20), TOKENIZER, context=200, trim=False)
    assert fit_to_context(conversation(20), TOKENIZER, context=200).dropped > 0
