"""How a model's own template writes calls: read from what it writes of one, so that replies can be read that way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ayllu.text.call_parser import CallForm
from ayllu.text.chat import Message, render_text_of
from ayllu.text.tool_calls import Tool, ToolCall

if TYPE_CHECKING:
    from ayllu.text.tokenizer import Tokenizer

NAME, KEY, VALUE = "probe_name", "probe_key", "probe_value"


def call_forms(tokenizer: Tokenizer) -> tuple[CallForm, ...]:
    """What the template puts around the JSON of a call; nothing where it writes none, or the JSON alone."""
    schema = {"type": "object", "properties": {KEY: {"type": "string"}}}
    tool = Tool(name=NAME, description=NAME, parameters=schema)
    asked = Message(role="user", content="?")
    call = Message(role="assistant", tool_calls=(ToolCall(name=NAME, arguments={KEY: VALUE}),))
    try:
        before = render_text_of([asked], tokenizer, tools=[tool], reply=True)
        after = render_text_of([asked, call], tokenizer, tools=[tool], reply=False)
    except ValueError:
        return ()
    written = after[len(before) :] if after.startswith(before) else ""
    found = _call_in(written)
    if found is None:
        return ()
    start, end = found
    # Thoughts, which some templates write before everything, are no part of the form.
    opening = written[:start].strip().removesuffix("[").split()[-1:]
    behind = written[end:].lstrip().removeprefix("]").lstrip()
    stop = next(
        (first for first, last in tokenizer.special_in(behind) if behind[first:last] in _stops(tokenizer)), None
    )
    closing = behind[:stop].split()[:1]
    return (CallForm(opening=opening[0], closing="".join(closing)),) if opening else ()


def _call_in(text: str) -> tuple[int, int] | None:
    """Where the object with the call's name and arguments lies."""
    decoder = json.JSONDecoder()
    for start in (at for at, character in enumerate(text) if character == "{"):
        try:
            value, end = decoder.raw_decode(text, start)
        except ValueError:
            continue
        if isinstance(value, dict) and value.get("name") == NAME and {"arguments", "parameters"} & value.keys():
            return start, end
    return None


def _stops(tokenizer: Tokenizer) -> set[str]:
    return {token for token, i in tokenizer.special.items() if i in tokenizer.stops}
