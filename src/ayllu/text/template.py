"""Chat templates of others: Jinja programs, run in a sandbox, and the ids and the predicted part of what they give.

Source of the environment and of the variables: `apply_chat_template` in transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

    from ayllu.text.tokenizer import Tokenizer

LONGEST = 20_000_000
"""Characters that a template may give: a loop that writes without end stops here."""


def render_text(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    special: Mapping[str, str],
    tools: Sequence[Mapping[str, Any]] = (),
    reply: bool,
) -> str:
    """The text that `template` makes of `messages`; `special` are names such as `bos_token` with their tokens.

    The template sees no date, so that the same conversation has the same text on every day. Raises ValueError with one
    clause when the template refuses the messages, is no template, or tries what the sandbox forbids.
    """
    from jinja2 import TemplateError
    from jinja2.sandbox import SecurityError

    variables = {
        **special,
        "messages": [dict(message) for message in messages],
        "tools": list(tools) or None,
        "documents": None,
        "add_generation_prompt": reply,
    }
    try:
        parts: list[str] = []
        length = 0
        for part in _compiled(template).generate(variables):
            parts.append(part)
            length += len(part)
            if length > LONGEST:
                raise ValueError(f"the chat template writes more than {LONGEST:,} characters")
        return "".join(parts)
    except SecurityError as error:
        raise ValueError(f"the chat template tries what its sandbox forbids ({error})") from None
    except TemplateError as error:
        raise ValueError(f"the chat template refuses this ({' '.join(str(error).split())})") from None
    except (TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"the chat template cannot be rendered ({error})") from None


@lru_cache(maxsize=32)
def knows_tools(template: str) -> bool:
    """Whether the template itself writes definitions of tools, and so calls. Raises ValueError when it is none."""
    from jinja2 import TemplateError, meta

    environment = _environment()
    try:
        return "tools" in meta.find_undeclared_variables(environment.parse(template))
    except TemplateError as error:
        raise ValueError(f"the chat template cannot be read ({' '.join(str(error).split())})") from None


@lru_cache(maxsize=32)
def _compiled(template: str) -> Template:
    return _environment().from_string(template)


def _environment() -> Any:
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}`, by which some templates mark the assistant's words: they are written as they stand."""

        tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
        # Jinja's own filter writes for HTML.
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    return environment


def encode_masked(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    tokenizer: Tokenizer,
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    reply: bool,
    masked: bool = True,
) -> tuple[list[int], list[bool]]:
    """Ids of a conversation, and for each whether the assistant produces it: its words and the stop behind them.

    An assistant's turn is what `template` adds to the prompt that stands before it. Special tokens come from the
    template only: what a message says is text, also where it spells one. Raises ValueError when the template refuses
    the messages and, where `masked`, when it writes a turn differently once a later one is there.
    """
    mark = _unused([*messages, *tools])
    guarded = [_guard(message, tuple(tokenizer.special), mark) for message in messages]
    tools = [_guard(tool, tuple(tokenizer.special), mark) for tool in tools]
    special = tokenizer.named

    def text(count: int, *, reply: bool) -> str:
        return render_text(template, guarded[:count], special=special, tools=tools, reply=reply)

    whole = text(len(messages), reply=reply)
    spans = []
    for i, message in enumerate(messages):
        if masked and message["role"] == "assistant":
            before = text(i, reply=True)
            after = whole if i + 1 == len(messages) and not reply else text(i + 1, reply=False)
            if not (after.startswith(before) and whole.startswith(after)):
                raise ValueError(
                    f"the chat template writes what precedes or follows message {i + 1} differently with it"
                )
            spans.append((len(before), len(after)))
    ids, starts = tokenizer.encode_rendered(whole, mark)
    produced = [False] * len(ids)
    for first, end in spans:
        places = [at for at, start in enumerate(starts) if first <= start < end]
        stops = [at for at in places if ids[at] in tokenizer.stops]
        # What a template writes behind the stop, such as a line break, is never generated.
        for at in places if not stops else range(places[0], stops[-1] + 1):
            produced[at] = True
    return ids, produced


def _unused(messages: Sequence[Mapping[str, Any]]) -> str:
    """A character that no message has: Unicode keeps these for such a use. ValueError when all stand there."""
    said = json.dumps(list(messages), ensure_ascii=False, default=str)
    free = next((chr(code) for code in (*range(0xFDD0, 0xFDF0), *range(0xE000, 0xF900)) if chr(code) not in said), None)
    if free is None:
        raise ValueError("the messages hold every private character of Unicode")
    return free


def _guard(value: Any, special: tuple[str, ...], mark: str) -> Any:
    """`value` with `mark` inside each special token that its texts spell."""
    if isinstance(value, str):
        for token in special:
            if token in value:
                value = value.replace(token, token[0] + mark + token[1:])
        return value
    if isinstance(value, Mapping):
        return {key: _guard(item, special, mark) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_guard(item, special, mark) for item in value]
    return value
