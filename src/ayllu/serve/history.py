"""Which part of a conversation the model gets to see when not all of it fits into its context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ayllu.text.chat import Message, render
from ayllu.text.tokenizer import Tokenizer

RESERVED_SHARE = 4
"""One part in four of the context is kept free for the answer, unless fewer tokens were asked for."""


class ContextFull(ValueError):
    """The system message and the last turn alone leave no room for an answer."""

    def __init__(self, needed: int, context: int) -> None:
        super().__init__(
            f"the last message, with the system message, has {needed} tokens and the model's context holds {context}; "
            "shorten it"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A conversation as the model will see it."""

    prompt: list[int]
    dropped: int
    """Messages left out, the oldest ones."""


def fit(
    messages: Sequence[Message], tokenizer: Tokenizer, *, context: int, tokens: int | None = None, trim: bool = True
) -> Fitted:
    """Ids of the conversation, ready for an answer of at most `tokens` ids.

    While a quarter of `context` (or `tokens`, if fewer) is not free, the oldest turn is left out: a message of the user
    with all that follows it up to the next one. System messages at the start and the last turn always stay. With
    `trim` false nothing is left out. ContextFull when no room for a single token is left.
    """
    reserve = context // RESERVED_SHARE
    reserve = min(tokens, reserve) if tokens is not None else reserve
    head, turns = _turns(messages)
    size = {id(m): len(render([m], tokenizer, reply=False)) - 1 for m in messages}
    needed = len(render([], tokenizer)) + sum(size.values())
    dropped = 0
    while trim and len(turns) > 1 and needed + reserve > context:
        oldest = turns.pop(0)
        needed -= sum(size[id(m)] for m in oldest)
        dropped += len(oldest)
    if needed >= context:
        raise ContextFull(needed, context)
    return Fitted(prompt=render([*head, *(m for turn in turns for m in turn)], tokenizer), dropped=dropped)


def _turns(messages: Sequence[Message]) -> tuple[list[Message], list[list[Message]]]:
    """The system messages at the start, and the turns behind them."""
    start = next((i for i, m in enumerate(messages) if m.role != "system"), len(messages))
    turns: list[list[Message]] = []
    for message in messages[start:]:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return list(messages[:start]), turns
