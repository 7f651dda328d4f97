"""Calls as families of models write them: what a template writes of a call is what is read of a reply."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ayllu.text.calls.form import call_forms
from ayllu.text.calls.parser import CallParser, Event, joined, parse
from ayllu.text.chat import Message, render_text_of
from ayllu.text.tokenizer import Tokenizer
from ayllu.text.tool_calls import Tool, ToolCall
from support.templates import REPLY, write_tokenizer

HEAD = (
    "{% for tool in tools or [] %}{{ tool | tojson }}\n{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}{% if m.tool_calls %}"
)
TAIL = "{% endif %}<|im_end|>\n{% endfor %}" + REPLY
COMMA = "{% if not loop.last %}, {% endif %}"
WHOLE, NAME, ARGUMENTS = "{{ c.function | tojson }}", "{{ c.function.name }}", "{{ c.function.arguments | tojson }}"
NINE = "{% if c.id | length != 9 %}{{ raise_exception('ids have nine letters') }}{% endif %}"
LINE = "{{ '\n' }}"


def each(call: str) -> str:
    return "{% for c in m.tool_calls %}" + call + "{% endfor %}"


FORMS = {
    "a list behind a tag": f"<|tool_call|>[{each(WHOLE + COMMA)}]",
    "whole calls": "<|tool_call|>{{ m.tool_calls | tojson }}<|/tool_call|>",
    "with ids": f"[TOOL_CALLS] [{each(NINE + WHOLE + COMMA)}]",
    "name, then arguments": each(f"[TOOL_CALLS]{NAME}[ARGS]{ARGUMENTS}"),
    "a tag of their own around all": f"<calls>{each(f'<call>{NAME}<sep>{ARGUMENTS}</call>')}</calls>",
    "a fence": f"<calls>{each(f'<call>function<sep>{NAME}{LINE}```json{LINE}{ARGUMENTS}{LINE}```</call>')}</calls>",
    "arrows": each(f">>>{NAME}{LINE}{ARGUMENTS}"),
    "other keys": each(f'<functioncall> {{"function": "{NAME}", "parameters": {ARGUMENTS}}}'),
    "arguments as text": each(f'<call>{{"name": "{NAME}", "arguments": {ARGUMENTS.replace("json", "json | tojson")}}}'),
    "several tags": each(f"<tools><call>{WHOLE}</call></tools>"),
}
SYSTEM_FIRST = "{% if messages[0].role != 'system' %}{{ raise_exception('system first') }}{% endif %}"
RESULT_BEHIND = "{% if messages[-1].tool_calls %}{{ raise_exception('a call needs its result') }}{% endif %}"
TOOLS = [
    Tool(name=name, description="", parameters={"type": "object", "properties": {"at": {"type": "string"}}})
    for name in ("look", "go_to")
]
LOOK = ToolCall(name="look", arguments={"at": 'the "sea" </tool_call> it\'s', "n": 3}, id="abcdefghi")
GO = ToolCall(name="go_to", arguments={"deep": {"a": [1, {"b": None}], "c": True}}, id="abcdefghj")
NONE = ToolCall(name="look", arguments={}, id="abcdefghk")


def reply(tokenizer: Tokenizer, *calls: ToolCall) -> str:
    """What the model would have to write for these calls."""
    asked = [Message(role="system", content="?"), Message(role="user", content="?")]
    before = render_text_of(asked, tokenizer, tools=TOOLS, reply=True)
    results = [Message(role="tool", content="?", tool_call_id=call.id) for call in calls]
    turns = [*asked, Message(role="assistant", tool_calls=calls), *results]
    after = render_text_of(turns, tokenizer, tools=TOOLS, reply=False)
    assert after.startswith(before)
    return after[len(before) :].partition("<|im_end|>")[0]


def streamed(text: str, forms: tuple[object, ...], chance: random.Random) -> list[Event]:
    parser, events = CallParser(forms=forms), []  # type: ignore[arg-type]
    while text:
        size = chance.randint(1, 4)
        events += parser.push(text[:size])
        text = text[size:]
    return joined([*events, *parser.close()])


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("demand", ["", SYSTEM_FIRST, RESULT_BEHIND])
def test_a_template_s_own_calls_are_read_back(kind: str, demand: str, tmp_path: Path) -> None:
    template = demand + HEAD + FORMS[kind] + TAIL
    tokenizer = Tokenizer.load(write_tokenizer(tmp_path, template))
    forms = call_forms(tokenizer)
    for calls in ((LOOK,), (GO,), (NONE,), (LOOK, GO), (NONE, LOOK, GO)):
        text = reply(tokenizer, *calls)
        events = parse(text, forms=forms)
        assert [event for event in events if isinstance(event, ToolCall)] == list(calls), text
        assert not "".join(event for event in events if isinstance(event, str)).strip()
        assert streamed(text, forms, random.Random(kind)) == events


def test_words_that_look_like_the_form_of_another_stay_words(tmp_path: Path) -> None:
    for kind, text in (
        ("name, then arguments", "Write [TOOL_CALLS] before a call, and [ARGS] behind its name."),
        ("arrows", ">>> print({})\nis Python, and >>> alone is none."),
        ("other keys", '{"function": "look", "at": 3}'),
        ("a fence", "```json\n{}\n``` is a fence."),
    ):
        template = HEAD + FORMS[kind] + TAIL
        tokenizer = Tokenizer.load(write_tokenizer(tmp_path / kind, template))
        events = parse(text, forms=call_forms(tokenizer))
        assert not [event for event in events if isinstance(event, ToolCall)]
        assert "".join(event if isinstance(event, str) else event.text for event in events) == text  # type: ignore[union-attr]
