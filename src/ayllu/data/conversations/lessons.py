"""Conversations that an assistant learns from, drawn by generators from a seed: calls of tools, and some manners."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ayllu.text.chat import Message
    from ayllu.text.template_mask import Masked
    from ayllu.text.tokenizer import Tokenizer

NAME = "Smol"
"""What the assistant is called."""
GROUP = 6
"""Requests that share the definitions of their tools, and so one row."""
CALLS = 0.86
"""Share of groups that are tool calls; the others are manners."""


def lessons(tokenizer: Tokenizer, chance: random.Random) -> Iterator[list[Masked]]:
    """Groups without an end: ids of each conversation, and which of them the assistant produces."""
    from ayllu.data.conversations.smalltalk import exchanges
    from ayllu.data.conversations.tool_requests import make_request_group
    from ayllu.text.chat import Message, render_masked

    talk = list(exchanges(NAME))
    while True:
        if chance.random() < CALLS:
            asked = make_request_group("train", GROUP, chance)
            made = [
                [Message(role="user", content=r.text), Message(role="assistant", tool_calls=r.calls)] for r in asked
            ]
            yield [render_masked(messages, tokenizer, tools=asked[0].tools) for messages in made]
        else:
            yield [render_masked(_spoken(chance.choice(talk).turns), tokenizer) for _ in range(2 * GROUP)]


def _spoken(turns: Sequence[str]) -> list[Message]:
    from ayllu.text.chat import Message

    return [Message(role=("user", "assistant")[i % 2], content=text) for i, text in enumerate(turns)]
