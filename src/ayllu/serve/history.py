"""Which part of a conversation the model gets to see when not all of it fits into its context."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Sequence
from dataclasses import dataclass

from ayllu.text.chat import Message, render
from ayllu.text.tokenizer import Tokenizer
from ayllu.text.tool_calls import Tool

RESERVED_SHARE = 4
"""One part in four of the context is kept free for the answer, unless fewer tokens were asked for."""


def longest_prompt(context: int) -> str:
    """How long a prompt may be, in the words of OpenAI's API, by which LiteLLM and others know this error."""
    return f"this model's maximum context length is {context} tokens"


class ContextFull(ValueError):
    """The system message and the last turn alone leave no room for an answer."""

    def __init__(self, needed: int, context: int) -> None:
        super().__init__(
            f"the last message, with the system message, has {needed} tokens, but {longest_prompt(context)}; shorten it"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedPrompt:
    """A conversation as the model will see it."""

    prompt: list[int]
    dropped: int
    """Messages left out, the oldest ones."""


def fit_to_context(
    messages: Sequence[Message],
    tokenizer: Tokenizer,
    *,
    context: int,
    tools: Sequence[Tool] = (),
    max_tokens: int | None = None,
    trim: bool = True,
) -> FittedPrompt:
    """Ids of the conversation with `tools`, ready for an answer of at most `max_tokens` ids.

    While a quarter of `context` (or `max_tokens`, if fewer) is not free, the oldest turn is left out: a message of the
    user with all that follows it up to the next one. System messages at the start and the last turn always stay. With
    `trim` false nothing is left out. ContextFull when no room for a single token is left, and ValueError when the
    model's chat template refuses the messages.
    """
    reserve = context // RESERVED_SHARE
    reserve = min(max_tokens, reserve) if max_tokens is not None else reserve
    head, turns = _turns(messages)

    @functools.cache
    def prompt(first: int) -> list[int]:
        return render([*head, *(message for turn in turns[first:] for message in turn)], tokenizer, tools=tools)

    # All that stays is rendered, since a template may write more than its turns one by one. From the last turn on twice
    # as many are tried each time, so that the work is bounded by the context and not by the conversation.
    latest = max(len(turns) - 1, 0) if trim else 0
    too_many, tried = 0, latest
    while tried > 0:
        tried = max(latest - 2 * (latest - tried) - 1, 0)
        if len(prompt(tried)) + reserve > context:
            too_many = tried + 1
            break
    first = bisect.bisect_left(range(latest), True, too_many, key=lambda n: len(prompt(n)) + reserve <= context)
    ids = prompt(first)
    if len(ids) >= context:
        raise ContextFull(len(ids), context)
    return FittedPrompt(prompt=ids, dropped=sum(len(turn) for turn in turns[:first]))


def _turns(messages: Sequence[Message]) -> tuple[list[Message], list[list[Message]]]:
    """The system messages at the start, and the turns behind them."""
    start = next((i for i, m in enumerate(messages) if m.role != "system"), len(messages))
    turns: list[list[Message]] = []
    for message in messages[start:]:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return list(messages[:start]), turns
