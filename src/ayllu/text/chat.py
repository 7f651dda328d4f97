"""Conversations to ids: Llama 3's chat format, or the template that an adopted model brought.

The format is described in `ayllu.text.llama3_format`, tool calls in `ayllu.text.tool_calls`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ayllu.text import template
from ayllu.text.llama3_format import EOM, HEADER, HEADER_END, PYTHON_TAG
from ayllu.text.tool_calls import (
    BUILT_IN,
    Tool,
    ToolCall,
    definitions,
    write_built_in,
    write_calls,
)

if TYPE_CHECKING:
    from ayllu.text.tokenizer import Tokenizer

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn. Raises ValueError on a role that the format does not have, and on calls that have no place in it.

    `ipython`, Llama 3.1's word for the role `tool`, is the same role.
    """

    role: str
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    """What the assistant calls; such a turn has no words."""

    def __post_init__(self) -> None:
        if self.role == "ipython":
            object.__setattr__(self, "role", "tool")
        if self.role not in ROLES:
            raise ValueError(f"role {self.role!r} is not one of {', '.join(ROLES)}")
        if self.tool_calls and (self.role != "assistant" or self.content):
            raise ValueError("tool calls stand in a turn of the assistant that has no words")


def render(
    messages: Sequence[Message], tokenizer: Tokenizer, *, tools: Sequence[Tool] = (), reply: bool = True
) -> list[int]:
    """Ids of a conversation; with `reply` the assistant's header stands at the end, ready for its answer.

    Llama 3's format begins with BOS; a model with a template of its own gets what that writes. Raises ValueError where
    the template refuses the messages, and where there are tools but no message of the user.
    """
    if tokenizer.chat_template is not None:
        return _by_template(messages, tokenizer, tools, reply=reply, masked=False)[0]
    ids, _ = render_masked(messages, tokenizer, tools=tools)
    return ids + _header("assistant", tokenizer) + tokenizer.encode("\n\n") if reply else ids


def render_masked(
    messages: Sequence[Message], tokenizer: Tokenizer, *, tools: Sequence[Tool] = ()
) -> tuple[list[int], list[bool]]:
    """Ids of a conversation, and for each id whether the assistant has to produce it: its words or calls, and its stop.

    Raises ValueError as `render` does.
    """
    if tokenizer.chat_template is not None:
        return _by_template(messages, tokenizer, tools, reply=False, masked=True)
    ids, produced = [tokenizer.bos], [False]
    for message in with_tools(messages, tools):
        head = _header("ipython" if message.role == "tool" else message.role, tokenizer)
        # The blank line and the words are cut together, as a tokenizer reading the rendered text would.
        blank = len(tokenizer.encode("\n\n"))
        body = _body(message, tokenizer)
        speaks = message.role == "assistant"
        ids += head + body
        produced += [False] * (len(head) + blank) + [speaks] * (len(body) - blank)
    return ids, produced


def with_tools(messages: Sequence[Message], tools: Sequence[Tool], *, indent: int | None = 4) -> list[Message]:
    """`messages` with the definitions of `tools` before the first words of the user, where Llama 3.1 reads them.

    `indent` is explained at `definitions`. Raises ValueError when there is no message of the user.
    """
    if not tools:
        return list(messages)
    first = next((i for i, message in enumerate(messages) if message.role == "user"), None)
    if first is None:
        raise ValueError("tools are described in the first message of the user, and there is none")
    asked = replace(messages[first], content=definitions(tools, indent=indent) + messages[first].content.strip())
    return [*messages[:first], asked, *messages[first + 1 :]]


def _body(message: Message, tokenizer: Tokenizer) -> list[int]:
    """The blank line behind the header, the words or calls, and what ends them."""
    tag, more = tokenizer.special.get(PYTHON_TAG), tokenizer.special.get(EOM)
    calls = message.tool_calls
    if tag is not None and more is not None and len(calls) == 1 and calls[0].name in BUILT_IN:
        # The model waits for the result: its message ends, its turn does not.
        return [*tokenizer.encode("\n\n"), tag, *tokenizer.encode(write_built_in(calls[0])), more]
    words = write_calls(calls) if calls else message.content.strip()
    return [*tokenizer.encode("\n\n" + words), tokenizer.eot]


def _by_template(
    messages: Sequence[Message], tokenizer: Tokenizer, tools: Sequence[Tool], *, reply: bool, masked: bool
) -> tuple[list[int], list[bool]]:
    """The model's own template; where it knows nothing of tools, they stand in the messages as text."""
    own = tokenizer.chat_template
    if not own:
        raise ValueError("the model has no chat template: it continues texts, it does not hold conversations")
    native = template.knows_tools(own)
    given = [
        _as_json(message, native) for message in (messages if native else with_tools(messages, tools, indent=None))
    ]
    described = [tool.as_json() for tool in tools] if native else []
    return template.encode_masked(own, given, tokenizer, tools=described, reply=reply, masked=masked)


def _as_json(message: Message, native: bool) -> dict[str, Any]:
    if message.tool_calls and not native:
        return {"role": message.role, "content": write_calls(message.tool_calls)}
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
            for call in message.tool_calls
        ]
    return fields


def _header(role: str, tokenizer: Tokenizer) -> list[int]:
    special = tokenizer.special
    return [special[HEADER], *tokenizer.encode(role), special[HEADER_END]]
