"""Conversations to ids: Llama 3's chat format, or the template that an adopted model brought.

The format is described in `ayllu.text.llama3_format`, tool calls in `ayllu.text.tool_calls`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ayllu.text.llama3_format import EOM, HEADER, HEADER_END, PYTHON_TAG
from ayllu.text.template import FIXED_DAY
from ayllu.text.template_mask import Masked, Written
from ayllu.text.template_shape import call_shape, named_of, taught, writes_tools
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

NO_TEMPLATE = "the model has no chat template: it continues texts, it does not hold conversations"
ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn. Raises ValueError on a role that no format has, and on calls that are not the assistant's.

    `ipython`, Llama 3.1's word for the role `tool`, is the same role.
    """

    role: str
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    """What the assistant calls, behind its words if a format has room for both: Llama 3's has none."""
    tool_call_id: str | None = field(default=None, compare=False)
    """Of the role `tool`: the id of the call that it answers, for templates that write it."""

    def __post_init__(self) -> None:
        if self.role == "ipython":
            object.__setattr__(self, "role", "tool")
        if self.role not in ROLES:
            raise ValueError(f"role {self.role!r} is not one of {', '.join(ROLES)}")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("tool calls stand in a turn of the assistant")


def render(
    messages: Sequence[Message],
    tokenizer: Tokenizer,
    *,
    tools: Sequence[Tool] = (),
    reply: bool = True,
    now: datetime | None = None,
) -> list[int]:
    """Ids of a conversation; with `reply` the assistant's header stands at the end, ready for its answer.

    Llama 3's format begins with BOS; a model with a template of its own gets what that writes, with today's date or
    `now` where it asks for one. Raises ValueError where the template refuses the messages, where a turn has words and
    calls and its format room for one of them, and where there are tools but no message of the user.
    """
    template = _template(tokenizer, tools)
    if template is not None:
        written = _written(template, messages, tokenizer, tools, now=now)
        return written.encode(written.text(written.guarded, reply=reply), [])[0]
    ids, _ = render_masked(messages, tokenizer, tools=tools)
    return ids + _header("assistant", tokenizer) + tokenizer.encode("\n\n") if reply else ids


def render_text_of(
    messages: Sequence[Message],
    tokenizer: Tokenizer,
    *,
    tools: Sequence[Tool] = (),
    reply: bool,
    native: bool | None = None,
) -> str:
    """What the model's own template writes, before it is cut into ids; "" where the format is Llama 3's.

    `native` gives it calls as such, though it may have no place for tools.
    """
    template = _template(tokenizer, tools)
    if template is None:
        return ""
    written = _written(template, messages, tokenizer, tools, now=FIXED_DAY, native=native)
    return written.text(written.guarded, reply=reply)


def render_masked(
    messages: Sequence[Message],
    tokenizer: Tokenizer,
    *,
    tools: Sequence[Tool] = (),
    unlearnt: Collection[int] = (),
    now: datetime = FIXED_DAY,
) -> Masked:
    """Ids of a conversation, and for each id whether the assistant has to produce it: its words or calls, and its stop.

    Turns of the assistant whose numbers, from 0, are `unlearnt` stand there and are not counted. Raises ValueError as
    `render` does, and where a template does not show which part is the assistant's.
    """
    template = _template(tokenizer, tools)
    if template is not None:
        return _written(template, messages, tokenizer, tools, now=now).masked(_learnt(messages, unlearnt))
    ids, produced = [tokenizer.bos], [False]
    for number, message in enumerate(with_tools(messages, tools)):
        head = _header("ipython" if message.role == "tool" else message.role, tokenizer)
        # The blank line and the words are cut together, as a tokenizer reading the rendered text would.
        blank = len(tokenizer.encode("\n\n"))
        body = _body(message, tokenizer)
        speaks = message.role == "assistant" and number not in unlearnt
        ids += head + body
        produced += [False] * (len(head) + blank) + [speaks] * (len(body) - blank)
    return ids, produced


def render_examples(
    messages: Sequence[Message], tokenizer: Tokenizer, *, tools: Sequence[Tool] = (), unlearnt: Collection[int] = ()
) -> list[Masked]:
    """What to train on for one conversation: each turn of the assistant as the model will have to produce it.

    One sequence, but where the template writes a past turn differently from the last one: then one for each turn.
    Raises ValueError as `render_masked` does, and where the template leaves out words or calls of a turn.
    """
    template = _template(tokenizer, tools)
    if template is None:
        return [render_masked(messages, tokenizer, tools=tools, unlearnt=unlearnt)]
    return _written(template, messages, tokenizer, tools, now=FIXED_DAY).examples(_learnt(messages, unlearnt))


def render_pair(
    asked: Sequence[Message], good: Message, bad: Message, tokenizer: Tokenizer, tools: Sequence[Tool] = ()
) -> tuple[list[int], list[int], list[int]]:
    """The ids up to an answer, and those that the assistant produces to give the good and the bad one."""
    # Only the answer is compared: what the assistant said before is part of what was asked.
    said = {number for number, message in enumerate(asked) if message.role == "assistant"}

    sides, prompt = [], render(asked, tokenizer, tools=tools, now=FIXED_DAY)
    for answer in (good, bad):
        ((ids, predict),) = render_examples([*asked, answer], tokenizer, tools=tools, unlearnt=said)
        sides.append([i for i, p in zip(ids, predict, strict=True) if p])
        if ids[: len(prompt)] != prompt:
            # A prompt that opens thoughts is not what an answer without any stands behind.
            prompt = ids[: predict.index(True)]
    return prompt, sides[0], sides[1]


def _learnt(messages: Sequence[Message], unlearnt: Collection[int]) -> list[int]:
    return [i for i, message in enumerate(messages) if message.role == "assistant" and i not in unlearnt]


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


def calls_stand_alone(tokenizer: Tokenizer, tools: Sequence[Tool]) -> bool:
    """Whether a turn with calls has no room for words: so in Llama 3's format, and where a template has no form of
    calls.

    Raises ValueError where the model holds no conversations.
    """
    template = _template(tokenizer, tools)
    return (
        template is None or not writes_tools(template, named_of(tokenizer)) or _own_calls(template, tokenizer) is False
    )


def _body(message: Message, tokenizer: Tokenizer) -> list[int]:
    """The blank line behind the header, the words or calls, and what ends them."""
    tag, more = tokenizer.special.get(PYTHON_TAG), tokenizer.special.get(EOM)
    calls = message.tool_calls
    _only_calls(message)
    if tag is not None and more is not None and len(calls) == 1 and calls[0].name in BUILT_IN:
        # The model waits for the result: its message ends, its turn does not.
        return [*tokenizer.encode("\n\n"), tag, *tokenizer.encode(write_built_in(calls[0])), more]
    words = write_calls(calls) if calls else message.content.strip()
    return [*tokenizer.encode("\n\n" + words), tokenizer.eot]


def _only_calls(message: Message) -> None:
    """Raises ValueError where a turn has words beside its calls, which Llama's format writes alone."""
    if message.tool_calls and message.content.strip():
        raise ValueError(
            "a turn of the assistant has calls and words, but calls are written in a turn that has no words"
        )


def _template(tokenizer: Tokenizer, tools: Sequence[Tool]) -> str | None:
    """The model's own template for a conversation with these tools; None for Llama 3's format."""
    found = tokenizer.template_for(with_tools=bool(tools))
    if found == "":
        raise ValueError(NO_TEMPLATE)
    return found


def _written(
    template: str,
    messages: Sequence[Message],
    tokenizer: Tokenizer,
    tools: Sequence[Tool],
    *,
    now: datetime | None,
    native: bool | None = None,
) -> Written:
    """The conversation for the model's own template; where that knows nothing of tools, they stand in the messages."""
    native = writes_tools(template, named_of(tokenizer)) if native is None else native
    form = native and (not any(m.tool_calls for m in messages) or _own_calls(template, tokenizer))
    given = [
        _as_json(message, native, form)
        for message in (messages if native else with_tools(messages, tools, indent=None))
    ]
    described = [tool.as_json() for tool in tools] if native else []
    return Written(template=template, messages=given, tokenizer=tokenizer, tools=described, now=now)


def writes_calls(template: str, tokenizer: Tokenizer) -> bool:
    """Whether `template` writes calls of the past itself."""
    return call_shape(template, named_of(tokenizer)).written


def _own_calls(template: str, tokenizer: Tokenizer) -> bool | tuple[str, str]:
    """Whether `template` writes calls; where it leaves them out, what it teaches to write around them."""
    return writes_calls(template, tokenizer) or taught(template, named_of(tokenizer)) or False


def _as_json(message: Message, native: bool, form: bool | tuple[str, str]) -> dict[str, Any]:
    calls = message.tool_calls
    if calls and isinstance(form, tuple):
        listed = [{"name": call.name, "arguments": dict(call.arguments)} for call in calls]
        said = f"{form[0]}{json.dumps(listed, ensure_ascii=False)}{form[1]}"
        return {"role": message.role, "content": "\n".join(filter(None, (message.content, said)))}
    if calls and not form:
        _only_calls(message)
        return {"role": message.role, "content": write_calls(calls)}
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if calls:
        fields["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
            | ({} if call.id is None else {"id": call.id})
            for call in calls
        ]
    if native and message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    return fields


def _header(role: str, tokenizer: Tokenizer) -> list[int]:
    special = tokenizer.special
    return [special[HEADER], *tokenizer.encode(role), special[HEADER_END]]
