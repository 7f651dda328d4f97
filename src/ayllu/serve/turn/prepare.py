"""A turn as the engine takes it: the ids of the prompt, what the answer must match, and how to read it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ayllu.serve.errors import ApiError
from ayllu.serve.served import Served
from ayllu.serve.turn.asked import Turn
from ayllu.serve.turn.filtered import check_asked
from ayllu.serve.turn.reader import Reader
from ayllu.text.calls.shape import CallForm
from ayllu.text.chat import Message, calls_stand_alone
from ayllu.text.llama3_format import PYTHON_TAG
from ayllu.text.tokenizer import Tokenizer
from ayllu.text.tool_calls import Tool

REMEMBERED = 4
"""Messages of the user that an answer is judged with: one may ask to go on with what an earlier one asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A turn, ready for `GenerationRequest`: `prompt`, `grammar` and `shown` are its fields of the same names."""

    prompt: list[int]
    dropped: int
    """Messages left out because the conversation is too long, the oldest ones."""
    grammar: str | None
    shown: Collection[int]
    offered: Sequence[Tool]
    forms: Sequence[CallForm]
    parallel: bool
    asked: Sequence[str]
    """The user's newest messages, the last one first: the answer is judged as an answer to them."""

    def reader(self) -> Reader:
        """Reads one answer; each answer needs its own."""
        enforced = self.grammar is not None
        return Reader(
            offered=[tool.name for tool in self.offered],
            forms=self.forms,
            tools=self.offered,
            parallel=self.parallel,
            enforced=enforced,
            asked=self.asked,
        )


def prepare(served: Served, turn: Turn, *, max_tokens: int | None, trim: bool) -> Prepared:
    """Ids of the conversation with its tools, ready for an answer of at most `max_tokens` ids; may take seconds.

    `trim` lets the oldest turns go where not all of it fits. ApiError where it does not fit, where the model's template
    refuses the messages, where what is asked of the answer cannot be enforced, and where the safety filter refuses it.
    """
    tokenizer = served.queue.engine.tokenizer
    asked = [message.content for message in reversed(turn.messages) if message.role == "user"][:REMEMBERED]
    check_asked(served, asked[0] if asked else "", "messages")
    callable_tools = turn.callable
    forms = served.call_forms if callable_tools else ()
    grammar = None
    if callable_tools or turn.shape is not None:
        from ayllu.serve.turn.grammar import grammar_of  # which imports llguidance: not for plain words

        grammar = grammar_of(turn, tokenizer, forms)
    messages = turn.messages
    try:
        if calls_stand_alone(tokenizer, turn.told):
            messages = calls_apart(messages)
    except ValueError as error:
        raise ApiError(400, str(error), param="messages") from error
    fitted = served.fit_to_context(messages, tools=turn.told, max_tokens=max_tokens, trim=trim)
    return Prepared(
        prompt=fitted.prompt,
        dropped=fitted.dropped,
        grammar=grammar,
        shown=shown_ids(tokenizer, forms) if callable_tools else (),
        offered=callable_tools,
        forms=forms,
        parallel=turn.parallel,
        asked=asked,
    )


def calls_apart(messages: Sequence[Message]) -> list[Message]:
    """`messages` with a turn for words and one for calls, where a turn of the assistant has both."""
    apart: list[Message] = []
    for message in messages:
        if message.tool_calls and message.content.strip():
            apart += [replace(message, tool_calls=()), replace(message, content="")]
        else:
            apart.append(message)
    return apart


def _inner(form: CallForm) -> Sequence[str]:
    """What a form writes within a call."""
    tags = form.tags
    within = () if tags is None else (tags.behind_name, tags.key, tags.value, tags.end, tags.close)
    return (form.between or "", *within)


def shown_ids(tokenizer: Tokenizer, forms: Sequence[CallForm]) -> frozenset[int]:
    """Special tokens that calls are written with: they are part of the text that is read."""
    written = [PYTHON_TAG, *(text for form in forms for text in (form.opening, *_inner(form), form.closing))]
    spelled = {text[start:end] for text in written for start, end in tokenizer.special_in(text)}
    return frozenset(tokenizer.special[name] for name in spelled) - tokenizer.stops
