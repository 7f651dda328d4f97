"""Tool calls: what is written is read again, however it is cut; what is malformed is reported and never repaired."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.text.calls.form import call_forms
from ayllu.text.calls.parser import CallParser, Event, MalformedCall, joined, parse
from ayllu.text.calls.pieces import Scan
from ayllu.text.calls.shape import CallForm
from ayllu.text.chat import Message, render_masked
from ayllu.text.tokenizer import Tokenizer
from ayllu.text.tool_calls import (
    CODE_INTERPRETER,
    Tool,
    ToolCall,
    write_built_in,
    write_call,
    write_calls,
    write_function,
)
from support.templates import PLAIN, THINKS_FIRST, TOOL_BLOCKS, TOOL_LIST, write_tokenizer

WEATHER = ToolCall(name="get_weather", arguments={"city": "Paris"})
TIME = ToolCall(name="get_time", arguments={})
SONGS = ToolCall(name="trending.songs-2", arguments={"n": 10, "genre": 'it\'s "all" {of} [them] </function>\n🦙'})

NAMES = st.from_regex(r"[A-Za-z_][\w.-]{0,12}", fullmatch=True).filter(str.isascii)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
CALLS = st.builds(
    lambda name, arguments: ToolCall(name=name, arguments=arguments),
    NAMES,
    st.dictionaries(TEXTS, VALUES, max_size=3),
)
PIECES = st.sampled_from(
    [
        *("{", "}", "[", "]", '"', "'", "\\", ":", ",", ";", "<", ">", " ", "\n", "x", "it's", "null", "🦙"),
        *("<|python_tag|>", "<|eom_id|>", "<|eot_id|>", "<|im_end|>", "<function=", "<function=f>", "</function>"),
        *('{"name": "f", "parameters": {"a": 1}}', '{"name"', '"parameters"', '{"name": "f"}', "{'name': 'f',"),
        *("<tool_call>", "</tool_call>", "<tool_", '{"name": "f", "arguments": {}}', "[F] [", "[/F]"),
        *('f.call(query="x")', "print(1)", "<|py", "|>", "def f():\n    return {}", '{"name": 3, "parameters": {}}'),
    ]
)


FORM = CallForm(opening="[F]", closing="[/F]")


def streamed(text: str, cuts: list[int], forms: tuple[CallForm, ...] = ()) -> list[Event]:
    parser = CallParser(forms=forms)
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    events = [event for a, b in itertools.pairwise(places) for event in parser.push(text[a:b])]
    return joined([*events, *parser.close()])


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("", []),
        ("Hello.", ["Hello."]),
        (write_call(WEATHER), [WEATHER]),
        (f" \n{write_call(WEATHER)}<|eot_id|>", [WEATHER]),
        (f"{write_call(WEATHER)}; {write_call(TIME)}", [WEATHER, TIME]),
        (f"{write_call(WEATHER)}\n{write_call(TIME)}<|im_end|>", [WEATHER, TIME]),
        (f"[{write_call(WEATHER)}, {write_call(TIME)}]", [WEATHER, TIME]),
        (f"<|python_tag|>{write_call(WEATHER)}<|eom_id|>", [WEATHER]),
        (f"<|python_tag|>{write_call(WEATHER)}<|python_tag|>{write_call(TIME)}", [WEATHER, TIME]),
        (f"I look.<|python_tag|>{write_call(SONGS)} Done.", ["I look.", SONGS, " Done."]),
        (f"{write_call(WEATHER)} and that was it.", [WEATHER, " and that was it."]),
        (f"{write_function(WEATHER)}<|eot_id|>", [WEATHER]),
        (f"Well: {write_function(SONGS)}{write_function(TIME)}", ["Well: ", SONGS, TIME]),
        ('<function=f>{"a": 1}', [ToolCall(name="f", arguments={"a": 1})]),
        ('{"type": "function", "name": "f", "parameters": {"n": "10"}}', [ToolCall(name="f", arguments={"n": "10"})]),
        ('{"name": "f", "arguments": {"n": 1}}', [ToolCall(name="f", arguments={"n": 1})]),
        (
            '<|python_tag|>brave_search.call(query="it\'s gold")<|eom_id|>',
            [ToolCall(name="brave_search", arguments={"query": "it's gold"})],
        ),
        ("<|python_tag|>print(1)\n<|eom_id|>", [ToolCall(name=CODE_INTERPRETER, arguments={"code": "print(1)\n"})]),
        ("<|python_tag|>[x for x in y]", [ToolCall(name=CODE_INTERPRETER, arguments={"code": "[x for x in y]"})]),
        ('<|python_tag|>{"a": 1}', [ToolCall(name=CODE_INTERPRETER, arguments={"code": '{"a": 1}'})]),
        (f"I look.\n<tool_call>\n{write_call(WEATHER)}\n</tool_call><|im_end|>", ["I look.\n", WEATHER]),
        (f"<tool_call>{write_call(WEATHER)}</tool_call>\n<tool_call>\n{write_call(TIME)}</tool_call>", [WEATHER, TIME]),
        (f"<tool_call>\n{write_call(WEATHER)}\n</tool_call>\nDone.", [WEATHER, "\nDone."]),
        ('<tool_call>{"name": "get_time", "arguments": {}}', [TIME]),
        (f"<tool_call>{write_function(WEATHER)}</tool_call>", [WEATHER]),
        # Words: JSON that is no call, calls that are quoted, ends that do not end.
        ('{"name": "Bob", "age": 3}', ['{"name": "Bob", "age": 3}']),
        ("{x + y} is a set", ["{x + y} is a set"]),
        ("[1, 2] is a list", ["[1, 2] is a list"]),
        (f"Write {write_call(WEATHER)}", [f"Write {write_call(WEATHER)}"]),
        ("The mark <|eot_id|> ends a turn", ["The mark <|eot_id|> ends a turn"]),
        ("<|python", ["<|python"]),
    ],
)
def test_what_a_reply_says(text: str, events: list[Event]) -> None:
    assert parse(text) == events


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{'name': 'f', 'parameters': {'a': 'it'}}", "no valid JSON"),
        ('{"name": "f", "parameters": {"a": 1,}}', "no valid JSON"),
        ('{"name": "f", "parameters": {"a": "cut', "before its JSON is complete"),
        ('{"name": "f", "parameters": {"a": 1}<|eot_id|>', "before its JSON is complete"),
        ('{"name": "f", "parameters": "a"}', "parameters are no JSON object"),
        ('{"name": "f", "parameters": null}', "parameters are no JSON object"),
        ('{"name": "", "parameters": {}}', "name of a function"),
        ('{"name": ["f"], "parameters": {}}', "name of a function"),
        ('{"name": "f g", "parameters": {}}', "name of a function"),
        ('{"type": "function", "name": "f"}', "parameters are no JSON object"),
        ('{"name": "f", "parameters": {"a": NaN}}', "NaN is no JSON"),
        ('{"name": "f", "parameters": {"a": 1, "a": 2}}', "stands there twice"),
        ('{"name": "f", "parameters": {"a": "\\ud83d"}}', "half a character"),
        ('{"name": "f", "parameters": ' + '{"a": ' * 100_000 + "1" + "}" * 100_001, "nested too deeply"),
        ('{"name": "f", "parameters": {"a": ' + "1" * 5000 + "}}", "no valid JSON"),
        ("<function=f>hello</function>", "must be followed by a JSON object"),
        ("<function=f", "must be followed by a JSON object"),
        ('<function=f g>{"a": 1}</function>', "must be followed by a JSON object"),
        ("<|python_tag|><|eom_id|>", "nothing follows"),
        *((f"<|python_tag|>{words}", "no valid Python") for words in ("I look it up.", "Paris, of course", "2 llamas")),
        *(
            (f"<|python_tag|>{words}<|eot_id|>", "no Python that does anything")
            for words in (
                "Sure",
                "not sure",
                "yes; no",
                "Paris, Lima",
                "Note: done",
                "well-known",
                "Paris (France)",
                "42",
            )
        ),
        ("<tool_call>I look.</tool_call>", "must be followed by a call as JSON"),
        ('<tool_call>{"city": "Paris"}</tool_call>', "must be followed by a call as JSON"),
        ("<tool_call>\n{'name': 'f', 'arguments': {}}\n</tool_call>", "no valid JSON"),
        ('<tool_call>{"name": "f", "arguments": {"a": "cut', "before its JSON is complete"),
        ('<|python_tag|>f.call(query="a "quoted" word")', "no Python texts"),
    ],
)
def test_malformed_calls_are_reported_as_they_stand(text: str, reason: str) -> None:
    (event,) = parse(text)
    assert isinstance(event, MalformedCall)
    assert reason in event.reason
    assert event.text in text
    assert "\n" not in event.reason


def test_a_malformed_call_does_not_hide_the_next_one() -> None:
    bad, good = parse("{'name': 'f', 'parameters': {}}; " + write_call(WEATHER))
    assert isinstance(bad, MalformedCall)
    assert good == WEATHER


@given(st.lists(CALLS, min_size=1, max_size=3))
def test_calls_written_are_read_again(calls: list[ToolCall]) -> None:
    assert parse(write_calls(calls)) == calls
    assert parse("".join(f"<|python_tag|>{write_call(call)}" for call in calls) + "<|eom_id|>") == calls
    assert parse("".join(write_function(call) for call in calls)) == calls
    assert parse("[" + ", ".join(write_call(call) for call in calls) + "]<|eot_id|>") == calls


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(lambda n: n.isidentifier()), TEXTS))
def test_built_in_calls_written_are_read_again(arguments: dict[str, str]) -> None:
    import keyword

    if any(map(keyword.iskeyword, arguments)):
        return
    call = ToolCall(name="wolfram_alpha", arguments=arguments)
    assert parse(f"<|python_tag|>{write_built_in(call)}<|eom_id|>") == [call]


@settings(max_examples=1500, deadline=None)
@given(st.lists(PIECES, max_size=8).map("".join), st.lists(st.integers(0, 400), max_size=8))
def test_any_way_of_cutting_a_reply_gives_the_same_events(text: str, cuts: list[int]) -> None:
    events = parse(text)
    assert streamed(text, cuts) == events
    assert streamed(text, list(range(len(text)))) == events
    assert all(isinstance(event, str | ToolCall | MalformedCall) and event != "" for event in events)
    assert streamed(text, cuts, (FORM,)) == parse(text, forms=(FORM,))


@pytest.mark.parametrize(
    "code",
    ["print(1)", "1 + 1", "import math\nmath.pi", "x = 3", "def f():\n    return 1", "len(words)", "df.head()", "f(3)"],
)
def test_python_that_does_something_is_a_call(code: str) -> None:
    assert parse(f"<|python_tag|>{code}<|eom_id|>") == [ToolCall(name=CODE_INTERPRETER, arguments={"code": code})]


@pytest.mark.parametrize("template", [TOOL_BLOCKS, TOOL_LIST, THINKS_FIRST])
def test_calls_that_a_models_own_template_writes_are_read_back(template: str, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(write_tokenizer(tmp_path, template))
    for calls in ((WEATHER,), (SONGS, WEATHER)):
        asked = [Message(role="user", content="?"), Message(role="assistant", tool_calls=calls)]
        ids, produced = render_masked(asked, tokenizer, tools=[Tool(name="get_weather", description="")])
        reply = tokenizer.decode([i for i, p in zip(ids, produced, strict=True) if p], skip_special=False)
        words = (event for event in parse(reply, forms=call_forms(tokenizer)) if isinstance(event, str))
        assert "".join(words).strip() in ("", "<think></think>")
        events = parse(reply, forms=call_forms(tokenizer))
        assert [event for event in events if not isinstance(event, str)] == list(calls)


def test_the_form_of_calls_is_what_the_template_says(tmp_path: Path) -> None:
    for template, form in (
        (TOOL_LIST, ("[CALLS]", "")),
        (THINKS_FIRST, ("<tool_call>", "</tool_call>")),
        (PLAIN, None),
    ):
        tokenizer = Tokenizer.load(write_tokenizer(tmp_path, template))
        assert [(found.opening, found.closing) for found in call_forms(tokenizer)] == ([form] if form else [])


@given(st.lists(CALLS | TEXTS, max_size=4), st.lists(st.integers(0, 400), max_size=8))
def test_calls_among_words_stay_what_they_are(parts: list[Any], cuts: list[int]) -> None:
    text = "".join(p if isinstance(p, str) else f"<|python_tag|>{write_call(p)}" for p in parts)
    events = streamed(text, cuts)
    assert events == parse(text)
    assert [e for e in events if isinstance(e, ToolCall)] == [p for p in parts if isinstance(p, ToolCall)]


def test_a_call_is_given_with_its_last_brace() -> None:
    parser = CallParser()
    text = write_call(WEATHER)
    assert parser.push(text[:-1]) == []
    assert parser.push(text[-1]) == [WEATHER]
    assert parser.push("; ") == []
    assert CallParser().push("Hello, ") == ["Hello, "]


def test_no_character_of_long_arguments_is_looked_at_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a call that streams character by character takes the square of its length."""
    looked, end = [], Scan.end

    def counted(self: Any, text: str, start: int) -> int | None:
        begin = max(self._at, start)
        found = end(self, text, start)
        looked.append(self._at - begin)
        return found

    monkeypatch.setattr(Scan, "end", counted)
    call = ToolCall(name="f", arguments={"text": "x" * 20_000})
    parser = CallParser()
    text = write_call(call)
    events = [event for character in text for event in parser.push(character)]
    assert events == [call]
    assert sum(looked) == len(text)
