"""The scoring of tool calls: only just the right calls count as exact, and what can be read is counted apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ayllu.data.conversations.tool_requests import ToolRequest
from ayllu.evals.skills import tool_calls
from ayllu.evals.skills.tool_calls import score_tool_calls
from ayllu.model.transformer import Transformer
from ayllu.text.chat import Message, render
from ayllu.text.tokenizer import Tokenizer
from ayllu.text.tool_calls import Tool, ToolCall

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool(name="weather", description="The weather of a city.", parameters=PARAMETERS)
ALARM = Tool(name="alarm", description="Wakes somebody.", parameters={"type": "object", "properties": {}})
LIMA, CUSCO = (ToolCall(name="weather", arguments={"city": city}) for city in ("Lima", "Cusco"))


def call(name: str, **arguments: object) -> str:
    return str({"name": name, "parameters": arguments}).replace("'", '"')


@pytest.fixture
def score(monkeypatch: pytest.MonkeyPatch, model: Transformer, tokenizer: Tokenizer) -> Any:
    """Score a model that replies just so to requests with `wanted` calls; gives (exact, read) of each."""

    def scored(*replies: str, wanted: tuple[ToolCall, ...] = (LIMA,)) -> list[tuple[bool, bool]]:
        monkeypatch.setattr(tool_calls, "greedy_replies", lambda *_, **__: list(replies))
        asked = [ToolRequest(text=f"Sunny? {i}", tools=(WEATHER, ALARM), calls=wanted) for i in range(len(replies))]
        rows = score_tool_calls(model, tokenizer, asked, dtype=torch.float32)
        assert [(row["request"], row["reply"]) for row in rows] == [
            (request.text, reply) for request, reply in zip(asked, replies, strict=True)
        ]
        return [(row["exact"], row["read"]) for row in rows]

    return scored


def test_just_the_right_call_is_exact(score: Any) -> None:
    assert score(call("weather", city="Lima"), "<|python_tag|>" + call("weather", city="Lima")) == [(True, True)] * 2


@pytest.mark.parametrize(
    "reply",
    [
        call("weather", city="Cusco"),
        call("weather", town="Lima"),
        call("weather"),
        call("weather", city="Lima", day="today"),
        call("alarm", city="Lima"),
        call("weather", city="Lima") + call("alarm"),
    ],
    ids=["value", "argument", "missing", "more", "tool", "twice"],
)
def test_another_call_that_can_be_read_is_not_exact(score: Any, reply: str) -> None:
    assert score(reply) == [(False, True)]


@pytest.mark.parametrize(
    "reply",
    ["It is sunny in Lima.", "", '{"name": "weather", "parameters": {"city": "Lima"'],
    ids=["words", "nothing", "cut off"],
)
def test_what_cannot_be_read_as_calls_is_neither(score: Any, reply: str) -> None:
    assert score(reply) == [(False, False)]


def test_words_around_a_call_make_it_neither(score: Any) -> None:
    """A program would have to guess which part was meant for it."""
    assert score("Let me see. <|python_tag|>" + call("weather", city="Lima")) == [(False, False)]


def test_two_calls_are_exact_only_both_and_in_order(score: Any) -> None:
    lima, cusco = call("weather", city="Lima"), call("weather", city="Cusco")
    replies = (f"{lima}; {cusco}", f"{cusco}; {lima}", lima)
    assert score(*replies, wanted=(LIMA, CUSCO)) == [(True, True), (False, True), (False, True)]


def test_each_request_is_asked_with_its_own_tools(
    monkeypatch: pytest.MonkeyPatch, model: Transformer, tokenizer: Tokenizer
) -> None:
    given: list[Any] = []

    def replies(*arguments: Any, **_: Any) -> list[str]:
        given.extend(arguments[2])
        return [call("weather", city="Lima"), call("alarm")]

    monkeypatch.setattr(tool_calls, "greedy_replies", replies)
    asked = [
        ToolRequest(text="Sunny?", tools=(WEATHER,), calls=(LIMA,)),
        ToolRequest(text="Wake me.", tools=(ALARM,), calls=(ToolCall(name="alarm", arguments={}),)),
    ]
    rows = score_tool_calls(model, tokenizer, asked, dtype=torch.float32)
    assert [row["exact"] for row in rows] == [True, True]
    assert given == [render([Message(role="user", content=r.text)], tokenizer, tools=r.tools) for r in asked]
