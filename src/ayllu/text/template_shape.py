"""In which shape a template takes messages, seen from what it writes of a few words and of a call.

Most take content as a text, and a call's arguments as an object. Some take content as a list of parts alone (Llama
Guard 3 1B) or arguments as the text of an object (functionary), and write nothing of the others or refuse them; some
teach a form of calls and write none of those in the past (Granite 3).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

from ayllu.text.template import FIXED_DAY, knows_tools, render_text

if TYPE_CHECKING:
    from ayllu.text.tokenizer import Tokenizer

_NO_CONTENT = re.compile(r"""(?<!\w)content['"]?\s*\]?\s+is\s+(?:not\s+)?none\b""", re.IGNORECASE)
"""A template's question whether a turn is calls alone, which OpenAI's API tells by a content of null."""
_TAUGHT = re.compile(r"<\|?tool_?calls?\|?>|\[TOOL_?CALLS?\]", re.IGNORECASE)
"""What a template tells a model to write before calls."""
_WORD, _NAME, _VALUE = "73519", "probe_name", "probe_value"
_ID = "probe0001"
"""Nine letters and digits, which some templates ask for."""
_TOOL = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "?",
        "parameters": {
            "type": "object",
            "properties": {"probe_key": {"type": "string", "description": "?"}},
            "required": ["probe_key"],
        },
    },
}
Named = tuple[tuple[str, str], ...]
"""Special tokens by name, in order."""


def named_of(tokenizer: Tokenizer) -> Named:
    """The special tokens that a template is told."""
    return tuple(sorted(tokenizer.named.items()))


@dataclass(frozen=True, kw_only=True)
class CallShape:
    """How a template takes a turn of the assistant with calls."""

    written: bool = True
    """Whether it writes calls at all."""
    no_content: bool = False
    """Whether calls without words have a content of None."""
    as_text: bool = False
    """Whether arguments are the text of an object."""

    def shaped(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """`message` in this shape."""
        calls = message["tool_calls"]
        if self.as_text:
            calls = [{**call, "function": _with_text(call["function"])} for call in calls]
        content = (message.get("content") or None) if self.no_content else message.get("content")
        return {**message, "content": content, "tool_calls": calls}


def fitted(template: str, messages: Sequence[Mapping[str, Any]], named: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """`messages` in the shape that `template` takes."""
    key = tuple(sorted(named.items()))
    found = [call_shape(template, key).shaped(m) if m.get("tool_calls") else m for m in messages]
    return [_in_parts(m) for m in found] if takes_parts(template, key) else found


@lru_cache(maxsize=32)
def takes_parts(template: str, named: Named) -> bool:
    """Whether `template` writes content only where it is a list of parts."""
    for system, parts in product((False, True), repeat=2):
        asked = [*([{"role": "system", "content": "?"}] if system else []), {"role": "user", "content": _WORD}]
        if _WORD in (_written(template, [_in_parts(m) for m in asked] if parts else asked, named) or ""):
            return parts
    return False


def leaves_out_words(template: str, named: Mapping[str, str]) -> bool:
    """Whether `template` takes a user's message and writes nothing of it, in either shape."""
    key, asked = tuple(sorted(named.items())), [{"role": "user", "content": _WORD}]
    written = _written(template, asked, key)
    return written is not None and _WORD not in written and not takes_parts(template, key)


@lru_cache(maxsize=32)
def writes_tools(template: str, named: Named) -> bool:
    """Whether `template` itself tells the model of tools: it asks for them, and writes something else with them.

    One that refuses a first message of the user is believed.
    """
    if not knows_tools(template):
        return False
    asked = [{"role": "user", "content": "?"}]
    told = _written(template, asked, named, tools=[_TOOL])
    return told is None or told != _written(template, asked, named)


@lru_cache(maxsize=32)
def call_shape(template: str, named: Named) -> CallShape:
    """How `template` takes calls: the usual way where it refuses every other too."""
    asks = bool(_NO_CONTENT.search(template))
    refused = True
    for as_text, no_content, (system, result) in product(
        (False, True), (asks, not asks), product((False, True), repeat=2)
    ):
        shape = CallShape(no_content=no_content, as_text=as_text)
        turns = [*([{"role": "system", "content": "?"}] if system else []), {"role": "user", "content": "?"}]
        turns.append(shape.shaped(_call()))
        turns += [{"role": "tool", "content": "?", "tool_call_id": _ID, "name": _NAME}] if result else []
        text = _written(template, turns, named, tools=[_TOOL])
        if text is not None and _VALUE in text:
            return shape
        refused = refused and text is None
    return CallShape(written=refused, no_content=asks)


@lru_cache(maxsize=32)
def taught(template: str, named: Named) -> tuple[str, str] | None:
    """What `template` tells the model to write around calls, where it writes none itself."""
    asked = [{"role": "user", "content": "?"}]
    told, plain = (_written(template, asked, named, tools=tools) or "" for tools in ([_TOOL], []))
    opening = next((found[0] for found in _TAUGHT.finditer(told) if found[0] not in plain), None)
    if opening is None:
        return None
    closing = opening[0] + "/" + opening[1:]
    return opening, closing if closing in told else ""


def _call() -> dict[str, Any]:
    function = {"name": _NAME, "arguments": {"probe_key": _VALUE}}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "id": _ID, "function": function}],
    }


def _with_text(function: Mapping[str, Any]) -> dict[str, Any]:
    return {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}


def _in_parts(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    return {**message, "content": [{"type": "text", "text": content}] if isinstance(content, str) else content}


def _written(
    template: str, messages: Sequence[Mapping[str, Any]], named: Named, *, tools: Sequence[Mapping[str, Any]] = ()
) -> str | None:
    """What `template` writes of `messages`; None where it refuses them."""
    try:
        return render_text(template, messages, special=dict(named), tools=tools, reply=True, now=FIXED_DAY)
    except ValueError:
        return None
