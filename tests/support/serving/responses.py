"""What answers of the Responses API are held to: the official client's types, and those of Open Responses."""

from __future__ import annotations

import json
from typing import Any

import openresponses_types.types as open_types
from openai.types.responses import Response, ResponseItem, ResponseStreamEvent
from openai.types.responses.responses_server_event import ResponsesServerEvent
from pydantic import BaseModel, TypeAdapter

OFFICIAL: TypeAdapter[Any] = TypeAdapter(Response)
OFFICIAL_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
OFFICIAL_SOCKET_EVENT: TypeAdapter[Any] = TypeAdapter(ResponsesServerEvent)
OFFICIAL_ITEM: TypeAdapter[Any] = TypeAdapter(ResponseItem)
OPEN_EVENTS = {
    next(iter(model.model_fields["type"].annotation)).value: model  # type: ignore[union-attr,arg-type]
    for name, model in vars(open_types).items()
    if name.endswith("StreamingEvent") and issubclass(model, BaseModel)
}
BEYOND = {"response": {"user", "conversation"}, "event": {"name"}}
"""Fields that only the official API's own documents have."""


def check_response(data: dict[str, Any]) -> None:
    """Fails unless `data` is a response of both, to the letter."""
    text = json.dumps(data)
    official = OFFICIAL.validate_json(text, strict=True)
    open_types.ResponseResource.model_validate_json(json.dumps(_as_open(data)), strict=True)
    known = {*Response.model_fields, *open_types.ResponseResource.model_fields, *BEYOND["response"]}
    assert set(data) <= known, set(data) - known
    assert {type(item).__name__ for item in official.output} <= {"ResponseOutputMessage", "ResponseFunctionToolCall"}


def check_event(data: dict[str, Any], *, socket: bool = False) -> None:
    """Fails unless `data` is an event of both, to the letter."""
    official = (OFFICIAL_SOCKET_EVENT if socket else OFFICIAL_EVENT).validate_json(json.dumps(data), strict=True)
    assert official.type == data["type"]
    model = OPEN_EVENTS[data["type"]]
    found = {**data, "response": _as_open(data["response"])} if "response" in data else data
    model.model_validate_json(json.dumps(found), strict=True)
    known = {*model.model_fields, *type(official).model_fields, *BEYOND["event"]}
    assert set(data) <= known, set(data) - known
    if "response" in data:
        check_response(data["response"])


def check_events(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Fails unless `events` are one whole stream, in order; gives the response that it ends with."""
    for event in events:
        check_event(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "response.created"
    items: list[dict[str, Any]] = []
    for event in events:
        kind = event["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert event["output_index"] == len(items)
            items.append(event["item"] | {"text": ""})
        elif kind in ("output_text.delta", "function_call_arguments.delta"):
            assert items[event["output_index"]]["id"] == event["item_id"]
            items[event["output_index"]]["text"] += event["delta"]
        elif kind == "output_text.done":
            assert items[event["output_index"]]["text"] == event["text"]
        elif kind == "function_call_arguments.done":
            assert items[event["output_index"]]["text"] == event["arguments"]
        elif kind == "output_item.done":
            items[event["output_index"]] = event["item"]
    final: dict[str, Any] = events[-1]["response"]
    assert events[-1]["type"] in ("response.completed", "response.incomplete", "response.failed")
    assert final["output"] == items
    return final


def _as_open(data: dict[str, Any]) -> dict[str, Any]:
    """`data` without what the package openresponses-types 2.4.0 has no place for: its schema of a format is null."""
    form = data["text"]["format"]
    if form["type"] != "json_schema":
        return data
    return {**data, "text": {**data["text"], "format": {**form, "schema": None}}}
