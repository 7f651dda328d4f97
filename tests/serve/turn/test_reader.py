from __future__ import annotations

import json

import pytest

from ayllu.serve.engines.decode import Utf8Decoder
from ayllu.serve.turn.asked import ToolChoice, Turn
from ayllu.serve.turn.events import CallArguments, CallEnded, CallStarted, Words
from ayllu.serve.turn.prepare import calls_apart, shown_ids
from ayllu.serve.turn.reader import Reader
from ayllu.text.calls.shape import CallForm
from ayllu.text.chat import Message
from ayllu.text.llama3_format import HEADER, HEADER_END, PYTHON_TAG
from ayllu.text.tool_calls import Tool, ToolCall
from support.models import tiny_tokenizer

WEATHER, TIME = Tool(name="weather", description="of a city"), Tool(name="time", description="now")
CALL = '{"name": "weather", "parameters": {"city": "Puno \\"é\\""}}'


def read(text: str, *, cut: int, parallel: bool = True, offered: tuple[str, ...] = ("weather",)) -> list[object]:
    reader = Reader(offered=offered, parallel=parallel)
    events = [e for at in range(0, len(text), cut) for e in reader.push(text[at : at + cut])]
    return [*events, *reader.close()]


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_a_call_begins_comes_and_ends_however_the_reply_is_cut(cut: int) -> None:
    started, arguments, ended = read(CALL, cut=cut)
    assert isinstance(started, CallStarted)
    assert isinstance(arguments, CallArguments)
    assert isinstance(ended, CallEnded)
    assert started.id == ended.id
    assert (started.name, started.index) == ("weather", 0)
    assert json.loads(arguments.text) == json.loads(ended.arguments) == {"city": 'Puno "é"'}


@pytest.mark.parametrize(
    ("before", "between", "behind"),
    [
        ('{"name": "weather", "parameters": ', '}; {"name": "weather", "parameters": ', "}"),
        (
            '<tool_call>\n{"name": "weather", "arguments": ',
            '}\n</tool_call>\n<tool_call>{"name":"weather","arguments":',
            "}",
        ),
        ("<function=weather>", "</function><function=weather>", "</function>"),
        ("[CALL]weather[ARGS]", "[/CALL][CALL]weather[ARGS]", "[/CALL]"),
    ],
)
@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_arguments_that_are_enforced_come_as_they_are_written(before: str, between: str, behind: str, cut: int) -> None:
    written = ['{"city": "Pu\\"}no", "list": [{"a": {}}, 1]}', "{}"]
    text = before + written[0] + between + written[1] + behind
    form = CallForm(opening="[CALL]", between="[ARGS]", closing="[/CALL]")
    reader = Reader(offered=("weather",), forms=(form,), enforced=True)
    events = [e for at in range(0, len(text), cut) for e in reader.push(text[at : at + cut])] + reader.close()
    assert not any(isinstance(event, Words) for event in events)
    for index in (0, 1):
        pieces = [e.text for e in events if isinstance(e, CallArguments) and e.index == index]
        assert "".join(pieces) == written[index]
        assert len(pieces) == 1 if cut == 1000 else len(pieces) >= len(written[index]) // cut
        assert [e.arguments for e in events if isinstance(e, CallEnded) and e.index == index] == [written[index]]
    # What has come of a call has been told before the rest of it comes.
    half = Reader(offered=("weather",), forms=(form,), enforced=True)
    told = half.push(before + written[0][:9])
    assert [type(event) for event in told] == [CallStarted, CallArguments]
    assert isinstance(told[1], CallArguments) and told[1].text == written[0][:9]


def test_a_call_that_is_enforced_and_cut_has_begun_and_not_ended() -> None:
    reader = Reader(offered=("weather",), enforced=True)
    events = [*reader.push(CALL[:-9]), *reader.close()]
    assert [type(event) for event in events] == [CallStarted, CallArguments]
    assert reader.calls == 0


def test_a_tool_that_is_not_offered_is_never_begun() -> None:
    reader = Reader(offered=("time",), enforced=True)
    assert [*reader.push(CALL[:40]), *reader.push(CALL[40:]), *reader.close()] == [Words(text=CALL)]


def test_several_calls_have_numbers_and_names_of_their_own() -> None:
    ended = [e for e in read(f"{CALL}; {CALL}", cut=5) if isinstance(e, CallEnded)]
    assert [e.index for e in ended] == [0, 1]
    assert len({e.id for e in ended}) == 2


def test_behind_the_one_call_that_is_wanted_nothing_is_read() -> None:
    assert len(read(f"{CALL}; {CALL} and words", cut=3, parallel=False)) == 3


@pytest.mark.parametrize(
    "text",
    [
        "The weather is {fine}.",
        '{"name": "other", "parameters": {}}',
        '{"name": "weather", "parameters": {"city": ',
        "<tool_call>weather</tool",
    ],
)
def test_what_no_client_could_run_stays_words(text: str) -> None:
    events = read(text, cut=4)
    assert all(isinstance(event, Words) for event in events)
    said = "".join(event.text for event in events if isinstance(event, Words))
    assert said == text


def test_without_tools_every_text_is_words() -> None:
    assert read(CALL, cut=1000, offered=()) == [Words(text=CALL)]


def test_a_choice_of_a_tool_that_is_not_there_is_refused() -> None:
    asked = [Message(role="user", content="?")]
    with pytest.raises(ValueError, match="no tool tide"):
        Turn(messages=asked, tools=[WEATHER], choice=ToolChoice(names=frozenset({"tide"})))
    with pytest.raises(ValueError, match="there are no tools"):
        Turn(messages=asked, choice=ToolChoice(mode="required"))
    chosen = Turn(messages=asked, tools=[WEATHER, TIME], choice=ToolChoice(names=frozenset({"time"})))
    assert (chosen.callable, list(chosen.told)) == ([TIME], [WEATHER, TIME])
    none = Turn(messages=asked, tools=[WEATHER], choice=ToolChoice(mode="none"))
    assert (none.callable, list(none.told)) == ([], [])


def test_words_beside_calls_get_a_turn_of_their_own() -> None:
    call = ToolCall(name="weather", arguments={})
    apart = calls_apart([Message(role="assistant", content="I look.", tool_calls=(call,))])
    assert apart == [Message(role="assistant", content="I look."), Message(role="assistant", tool_calls=(call,))]


def test_the_tag_of_a_call_is_text_and_other_special_tokens_are_none() -> None:
    tokenizer = tiny_tokenizer()
    tag = tokenizer.special[PYTHON_TAG]
    ids = [*tokenizer.encode("né"), tag, tokenizer.bos, *tokenizer.encode("x")]
    assert shown_ids(tokenizer, ()) == {tag}
    both = CallForm(opening=f"{PYTHON_TAG}{HEADER}", between=HEADER_END)
    assert shown_ids(tokenizer, (both,)) == {tag, tokenizer.special[HEADER], tokenizer.special[HEADER_END]}
    decoder = Utf8Decoder(tokenizer, shown_ids(tokenizer, ()))
    assert "".join(decoder.push(token) for token in ids) + decoder.flush() == f"né{PYTHON_TAG}x"
