"""Calls of tools in responses: made, streamed, answered, refused."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest

from support.serving.responses import check_event, check_response

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["Lima", "Cusco"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
ASKED: Any = {
    "model": "tiny",
    "input": "Hello",
    "tools": [WEATHER],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "max_output_tokens": 80,
}


@pytest.fixture(scope="module")
def url(roomy_url: str) -> str:
    return roomy_url


def test_a_call_is_made_and_its_result_goes_on(client: openai.OpenAI) -> None:
    raw = client.responses.with_raw_response.create(**ASKED)
    check_response(json.loads(raw.text))
    made = raw.parse()
    (call,) = made.output
    assert made.status == "completed" and call.type == "function_call" and call.status == "completed"
    assert call.name == "weather" and json.loads(call.arguments)["city"] in ("Lima", "Cusco")
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny"}
    after = client.responses.create(
        model="tiny", input=[result], previous_response_id=made.id, tools=[WEATHER], max_output_tokens=4
    )
    assert after.usage is not None and made.usage is not None
    assert after.usage.input_tokens > made.usage.input_tokens
    listed = client.responses.input_items.list(after.id).data
    assert [item.type for item in listed] == ["function_call_output"]
    alone = client.responses.create(
        model="tiny",
        input=[{"role": "user", "content": "Hello"}, call.to_dict(), result],
        tools=[WEATHER],
        max_output_tokens=4,
    )
    assert alone.usage is not None and alone.usage.input_tokens == after.usage.input_tokens


def test_a_streamed_call_adds_up(client: openai.OpenAI) -> None:
    with client.responses.stream(**ASKED) as stream:
        events = [json.loads(event.to_json()) for event in stream]
        final = stream.get_final_response()
    (call,) = final.output
    assert call.type == "function_call" and call.parsed_arguments["city"] in ("Lima", "Cusco")
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[:3] == ["created", "in_progress", "output_item.added"]
    assert kinds[-4:] == [
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


def test_the_events_of_a_call_are_what_the_types_say(url: str) -> None:
    reply = httpx2.post(f"{url}/v1/responses", json={**ASKED, "stream": True}, timeout=60)
    events = [json.loads(line[6:]) for line in reply.text.split("\n") if line.startswith("data: {")]
    for event in events:
        check_event(event)


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "name": "weather"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "weather"}]},
    ],
)
def test_a_choice_names_the_tool(client: openai.OpenAI, choice: Any) -> None:
    other = {**WEATHER, "name": "other"}
    made = client.responses.create(**{**ASKED, "tools": [other, WEATHER], "tool_choice": choice})
    assert made.output[0].name == "weather"  # type: ignore[union-attr]
    assert json.loads(made.to_json())["tool_choice"] == choice


def test_a_choice_of_no_tool_calls_none(client: openai.OpenAI) -> None:
    made = client.responses.create(**{**ASKED, "tool_choice": "none", "max_output_tokens": 8})
    assert [item.type for item in made.output] == ["message"]
    with pytest.raises(openai.BadRequestError, match="no tool nothing"):
        client.responses.create(**{**ASKED, "tool_choice": {"type": "function", "name": "nothing"}})
