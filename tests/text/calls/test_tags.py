"""Calls that are no JSON, as templates write them: arguments in tags, calls as in Python, and what Python prints."""

from __future__ import annotations

import itertools
import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ayllu.text.calls.form import call_forms
from ayllu.text.calls.parser import CallParser, Event, MalformedCall, joined, parse
from ayllu.text.calls.shape import CallForm
from ayllu.text.chat import Message, render_text_of
from ayllu.text.tokenizer import Tokenizer
from ayllu.text.tool_calls import Tool, ToolCall
from support.templates import REPLY, write_tokenizer

HEAD = (
    "{% for tool in tools or [] %}{{ tool | tojson }}\n{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}{% if m.tool_calls %}"
)
TAIL = "{% endif %}<|im_end|>\n{% endfor %}" + REPLY
LINE = "{{ '\\n' }}"
"""A new line behind a block, where a plain one is cut away."""
EACH, END = "{% for c in m.tool_calls %}{% set f = c.function %}", "{% endfor %}"
ITEMS = "{% for k, v in f.arguments.items() %}"
SHOWN = "{{ v if v is string else (v | tojson) }}"
PRINTED = "{{ v | tojson if v is mapping or (v is sequence and v is not string) else v | string }}"
COMMA = "{% if not loop.last %}, {% endif %}"

IN_TAGS = {
    "function and parameter": EACH
    + f"{LINE}<tool_call>\n<function={{{{ f.name }}}}>\n{ITEMS}<parameter={{{{ k }}}}>\n{PRINTED}\n</parameter>\n{END}"
    + f"</function>\n</tool_call>{END}",
    "keys and values": EACH
    + f"{LINE}<tool_call>{{{{ f.name }}}}\n{ITEMS}<arg_key>{{{{ k }}}}</arg_key>\n<arg_value>{SHOWN}</arg_value>\n{END}"
    + f"</tool_call>{END}",
    "invoke": "<x:tool_call>"
    + EACH
    + f'{LINE}<invoke name="{{{{ f.name }}}}">\n{ITEMS}<parameter name="{{{{ k }}}}">{SHOWN}</parameter>\n{END}'
    + f"</invoke>{END}{LINE}</x:tool_call>",
}
"""As Qwen3-Coder, GLM and MiniMax write them."""
KEYWORDS = f"{ITEMS}{{{{ k }}}}={{{{ v | py }}}}{COMMA}{END}"
CALLED = {
    "a list behind a tag": f"<|tool_call_start|>[{EACH}{{{{ f.name }}}}({KEYWORDS}){COMMA}{END}]<|tool_call_end|>",
    "a line each": f"<calls>{EACH}{{{{ f.name }}}}({KEYWORDS}){{{{ '' if loop.last else '\n' }}}}{END}</calls>",
}
"""As LFM2 and OLMo write them."""
PARAMETERS = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "sure": {"type": "boolean"},
        "list": {"type": "array"},
        "more": {"type": "object"},
        "maybe": {"type": ["integer", "null"]},
    },
}
TOOLS = [Tool(name=name, description="", parameters=PARAMETERS) for name in ("look", "go_to", "far.away")]
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x85\u2028\u2029", min_codepoint=10), max_size=12)
WORDS = st.text(string.ascii_letters + " '\"<>/&{}[]\\\n", max_size=16)
INNER = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**6) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(string.ascii_lowercase), inner, max_size=2),
    max_leaves=4,
)
ODD = ["1", "None", "true", '{"a": 1}', "</parameter>", "\n", " x ", "</function> y"]
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "text": TEXTS | WORDS | st.sampled_from(ODD),
        "count": st.integers(-(10**9), 10**9),
        "share": st.floats(allow_nan=False, allow_infinity=False),
        "sure": st.booleans(),
        "list": st.lists(INNER, max_size=3),
        "more": st.dictionaries(st.text(string.ascii_lowercase), INNER, max_size=2),
        "maybe": st.none() | st.integers(0, 9),
    },
)
CALLS = st.lists(
    st.builds(
        lambda name, arguments: ToolCall(name=name, arguments=arguments, id="abcdefghi"),
        st.sampled_from([tool.name for tool in TOOLS]),
        ARGUMENTS,
    ),
    min_size=1,
    max_size=3,
)


def written_in_tags(kind: str, calls: list[ToolCall]) -> str:
    """What a model that follows the template `kind` writes; by hand, so that no template engine is asked each time."""

    def shown(value: Any) -> str:
        if kind == "function and parameter" and not isinstance(value, dict | list | str):
            return str(value)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def one(call: ToolCall) -> str:
        if kind == "function and parameter":
            inner = "".join(f"<parameter={k}>\n{shown(v)}\n</parameter>\n" for k, v in call.arguments.items())
            return f"<tool_call>\n<function={call.name}>\n{inner}</function>\n</tool_call>"
        if kind == "keys and values":
            pairs = (
                (f"<arg_key>{k}</arg_key>", f"<arg_value>{shown(v)}</arg_value>") for k, v in call.arguments.items()
            )
            return "\n".join((f"<tool_call>{call.name}", *itertools.chain(*pairs), "</tool_call>"))
        inner = "".join(f'<parameter name="{k}">{shown(v)}</parameter>\n' for k, v in call.arguments.items())
        return f'<invoke name="{call.name}">\n{inner}</invoke>'

    whole = "\n".join(map(one, calls))
    return f"<x:tool_call>\n{whole}\n</x:tool_call>" if kind == "invoke" else whole


def streamed(text: str, cuts: list[int], forms: tuple[CallForm, ...]) -> list[Event]:
    parser = CallParser(forms=forms, tools=TOOLS)
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    events = [event for a, b in itertools.pairwise(places) for event in parser.push(text[a:b])]
    return joined([*events, *parser.close()])


def forms_of(template: str, folder: Path) -> tuple[CallForm, ...]:
    return call_forms(Tokenizer.load(write_tokenizer(folder, HEAD + template + TAIL)))


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[CallForm, ...]]:
    """The forms of each template in `IN_TAGS`."""
    return {kind: forms_of(template, tmp_path_factory.mktemp("model")) for kind, template in IN_TAGS.items()}


@pytest.mark.parametrize("kind", IN_TAGS)
def test_what_the_template_writes_is_what_the_other_tests_write(kind: str, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(write_tokenizer(tmp_path, HEAD + IN_TAGS[kind] + TAIL))
    calls = [ToolCall(name="look", arguments={"text": "a\nb", "count": 3, "sure": True, "maybe": None, "list": [1]})]
    for made in (calls, [*calls, ToolCall(name="go_to", arguments={})]):
        asked = [Message(role="user", content="?")]
        before = render_text_of(asked, tokenizer, tools=TOOLS, reply=True)
        after = render_text_of(
            [*asked, Message(role="assistant", tool_calls=tuple(made))], tokenizer, tools=TOOLS, reply=False
        )
        assert after.removeprefix(before).partition("<|im_end|>")[0].strip() == written_in_tags(kind, made)


@pytest.mark.parametrize("kind", IN_TAGS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(calls=CALLS, cuts=st.lists(st.integers(0, 400), max_size=8))
def test_arguments_in_tags_come_back_with_their_types(
    kind: str, calls: list[ToolCall], cuts: list[int], tagged: dict[str, tuple[CallForm, ...]]
) -> None:
    text = f"I look. {written_in_tags(kind, calls)}"
    events = parse(text, forms=tagged[kind], tools=TOOLS)
    assert [event for event in events if not isinstance(event, str)] == calls
    assert "".join(event for event in events if isinstance(event, str)).strip() == "I look."
    assert streamed(text, cuts, tagged[kind]) == events


@pytest.mark.parametrize("kind", IN_TAGS)
def test_a_call_that_ends_amid_its_tags_is_told_as_it_stands(
    kind: str, tagged: dict[str, tuple[CallForm, ...]]
) -> None:
    whole = written_in_tags(kind, [ToolCall(name="look", arguments={"text": "sea", "count": 3})])
    for cut in range(len(whole) - 30):
        events = parse(whole[:cut], forms=tagged[kind], tools=TOOLS)
        assert not any(isinstance(event, ToolCall) for event in events)
        told = "".join(event.text if isinstance(event, MalformedCall) else str(event) for event in events)
        assert whole[:cut].endswith(told)


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("12", {"type": "string"}, "12"),
        ("12", {"type": "integer"}, 12),
        ("True", {"type": "boolean"}, True),
        ("true", {"type": "boolean"}, True),
        ("None", {"type": ["string", "null"]}, None),
        ("none of them", {"type": ["string", "null"]}, "none of them"),
        ("12", {"anyOf": [{"type": "string"}, {"type": "null"}]}, "12"),
        ("twelve", {"type": "integer"}, "twelve"),
        ("{'a': True}", {"type": "object"}, {"a": True}),
        ("1", {"enum": ["1", "2"]}, "1"),
        ("1", {"enum": [1, 2]}, 1),
        ("1", {}, 1),
        ("one", {}, "one"),
    ],
)
def test_the_schema_says_what_a_value_is(text: str, schema: dict[str, Any], value: Any) -> None:
    tool = Tool(name="look", description="", parameters={"type": "object", "properties": {"at": schema}})
    reply = f"<function=look>\n<parameter=at>\n{text}\n</parameter>\n</function>"
    assert parse(reply, tools=[tool]) == [ToolCall(name="look", arguments={"at": value})]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(calls=CALLS, cuts=st.lists(st.integers(0, 400), max_size=8), behind=st.sampled_from(["", "<|python_tag|>"]))
def test_calls_as_python_writes_them_are_read_where_the_tools_are_known(
    calls: list[ToolCall], cuts: list[int], behind: str
) -> None:
    def one(call: ToolCall) -> str:
        return f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})"

    text = f"{behind}[{', '.join(map(one, calls))}]"
    assert parse(text, tools=TOOLS) == calls
    assert streamed(text, cuts, ()) == calls


@pytest.mark.parametrize(
    "text", ["[look(3)]", "[look(at=x)]", "[sing(at=3)]", "[look(at=3), sing()]", "[look (see note)]", "[x]"]
)
def test_lists_that_are_no_calls_of_known_tools_stay_words(text: str) -> None:
    assert parse(text, tools=TOOLS) == [text]
    assert parse("[look(text='sea')] is how one looks.") == ["[look(text='sea')] is how one looks."]


@pytest.mark.parametrize("kind", CALLED)
def test_a_template_that_calls_as_python_does_is_read(kind: str, tmp_path: Path) -> None:
    template = CALLED[kind].replace("{{ v | py }}", "{{ v | tojson }}")
    tokenizer = Tokenizer.load(write_tokenizer(tmp_path, HEAD + template + TAIL))
    forms = call_forms(tokenizer)
    calls = (
        ToolCall(name="look", arguments={"text": 'the "sea" )] it\'s', "count": 3}),
        ToolCall(name="go_to", arguments={}),
    )
    asked = [Message(role="user", content="?")]
    before = render_text_of(asked, tokenizer, tools=TOOLS, reply=True)
    for made in (calls[:1], calls):
        after = render_text_of(
            [*asked, Message(role="assistant", tool_calls=made)], tokenizer, tools=TOOLS, reply=False
        )
        text = after.removeprefix(before).partition("<|im_end|>")[0]
        assert parse(text, forms=forms) == list(made)
        assert streamed(text, [3, 9, 20, 31], forms) == list(made)


@pytest.mark.parametrize(
    "template",
    [
        f"{EACH}<call>{{{{ {{'name': f.name, 'arguments': f.arguments}} }}}}</call>{END}",
        f"{EACH}[CALLS]{{{{ f.name }}}}[ARGS]{{{{ f.arguments }}}}{END}",
        '{% for c in m.tool_calls %}<call>{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments }}}'
        "</call>{% endfor %}",
    ],
)
def test_what_python_prints_is_read_where_the_template_prints_so(template: str, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(write_tokenizer(tmp_path, HEAD + template + TAIL))
    forms = call_forms(tokenizer)
    call = ToolCall(name="look", arguments={"text": "it's a {brace}", "sure": True, "maybe": None, "list": [1, "2"]})
    asked = [Message(role="user", content="?")]
    before = render_text_of(asked, tokenizer, tools=TOOLS, reply=True)
    after = render_text_of([*asked, Message(role="assistant", tool_calls=(call,))], tokenizer, tools=TOOLS, reply=False)
    text = after.removeprefix(before).partition("<|im_end|>")[0]
    assert parse(text, forms=forms) == [call]
    assert streamed(text, [5, 17, 30, 44], forms) == [call]
    # Elsewhere what is no JSON is reported, as it always was.
    assert isinstance(parse("<tool_call>{'name': 'look', 'arguments': {}}</tool_call>")[0], MalformedCall)


def test_a_form_that_writes_ids_reads_other_ids(tmp_path: Path) -> None:
    template = EACH + "[TOOL_CALLS]{{ f.name }}[CALL_ID]{{ c.id }}[ARGS]{{ f.arguments | tojson }}" + END
    forms = forms_of(template, tmp_path)
    text = '[TOOL_CALLS]look[CALL_ID]aB3dE6gH9[ARGS]{"count": 3}[TOOL_CALLS]go_to[CALL_ID]zzzzzzzzz[ARGS]{}'
    assert parse(text, forms=forms) == [
        ToolCall(name="look", arguments={"count": 3}),
        ToolCall(name="go_to", arguments={}),
    ]
