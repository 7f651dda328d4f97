"""Tools and calls themselves: what fits a definition, and what no form can carry."""

from __future__ import annotations

import json

import pytest

from ayllu.text.tool_calls import CODE_INTERPRETER, Tool, ToolCall, problem, write_built_in

WEATHER = ToolCall(name="get_weather", arguments={"city": "Paris"})
TIME = ToolCall(name="get_time", arguments={})


def test_calls_are_checked_against_the_definitions() -> None:
    properties = {"city": {"type": "string"}, "days": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["city"]}
    tools = [Tool(name="get_weather", description="Weather", parameters=schema)]
    assert problem(WEATHER, tools) is None
    assert problem(TIME, tools) == "there is no tool get_time"
    for arguments, said in (
        ({}, "needs the parameter city"),
        ({"city": "x", "town": "y"}, "has no parameter town"),
        ({"city": 3}, "city must be string"),
        ({"city": "x", "days": True}, "days must be integer"),
        ({"city": "x", "days": 1.5}, "days must be integer"),
    ):
        found = problem(ToolCall(name="get_weather", arguments=arguments), tools)
        assert found is not None
        assert said in found
    assert json.loads(json.dumps(tools[0].as_json()))["function"]["name"] == "get_weather"


def test_what_no_form_can_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        ToolCall(name="a b", arguments={})
    with pytest.raises(ValueError, match="one argument, `code`"):
        write_built_in(ToolCall(name=CODE_INTERPRETER, arguments={"program": "x"}))
    with pytest.raises(ValueError, match="texts as arguments"):
        write_built_in(ToolCall(name="brave_search", arguments={"query": 3}))
