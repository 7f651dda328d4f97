"""Items as the model reads them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from ayllu.serve.responses.items import GivenItem, kept_item, messages_of
from ayllu.text.chat import Message
from ayllu.text.tool_calls import ToolCall

ADAPTER: TypeAdapter[Any] = TypeAdapter(GivenItem)


def read(*items: dict[str, Any], instructions: str | None = None) -> list[Message]:
    return messages_of([kept_item(ADAPTER.validate_python(item)) for item in items], instructions)


def call(name: str, city: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": name, "name": "weather", "arguments": f'{{"city": "{city}"}}'}


def result(name: str, text: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": name, "output": text}


def test_calls_of_one_turn_stand_together_and_results_in_their_order() -> None:
    found = read(
        {"role": "user", "content": "Where is it warm?"},
        {"role": "assistant", "content": "I will look."},
        call("a", "Lima"),
        call("b", "Cusco"),
        result("b", "12"),
        result("a", "24"),
        {"role": "developer", "content": "Be short."},
    )
    calls = tuple(ToolCall(name="weather", arguments={"city": city}) for city in ("Lima", "Cusco"))
    assert found == [
        Message(role="user", content="Where is it warm?"),
        Message(role="assistant", content="I will look.", tool_calls=calls),
        Message(role="tool", content="24"),
        Message(role="tool", content="12"),
        Message(role="system", content="Be short."),
    ]
    assert [message.tool_call_id for message in found] == [None, None, "a", "b", None]
    assert [one.id for one in found[1].tool_calls] == ["a", "b"]


def test_what_hosted_tools_gave_is_read_as_far_as_clients_send_it_back() -> None:
    """All fields of a result are optional in the official types."""
    search = {"type": "file_search_call", "id": "fs_1", "queries": ["tea"], "status": "completed"}
    code = {"type": "code_interpreter_call", "id": "ci_1", "container_id": "c", "code": "1", "status": "completed"}
    results = [{}, {"file_id": "file-1", "text": "black"}, {"filename": "a.txt", "text": "green", "score": 0.5}]
    found = read({**search, "results": results}, {**search, "results": None}, {**code, "outputs": None})
    words = [message.content for message in found if message.role == "tool"]
    assert words == ["[a file] black\n\n[a.txt] green", "nothing was found", ""]
    assert kept_item(ADAPTER.validate_python({**search, "results": results}))["results"] == results
    outputs = [{"type": "image", "url": "data:,"}, {"type": "logs", "logs": "2"}]
    assert kept_item(ADAPTER.validate_python({**code, "outputs": outputs}))["outputs"] == outputs
    empty = {**result("a", ""), "output": [{"type": "input_text"}]}
    for wrong in (
        empty,
        {**code, "outputs": [{}]},
        {**code, "outputs": [{"type": "logs"}]},
        {**search, "results": ["a"]},
    ):
        with pytest.raises(ValidationError):
            ADAPTER.validate_python(wrong)


def test_refusals_and_parts_are_words_and_thoughts_are_not() -> None:
    found = read(
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        instructions="Be kind.",
    )
    wanted = [("system", "Be kind."), ("assistant", "No."), ("user", "ab")]
    assert [(message.role, message.content) for message in found] == wanted
