"""Items as the model reads them."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

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


def test_refusals_and_parts_are_words_and_thoughts_are_not() -> None:
    found = read(
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        instructions="Be kind.",
    )
    wanted = [("system", "Be kind."), ("assistant", "No."), ("user", "ab")]
    assert [(message.role, message.content) for message in found] == wanted
