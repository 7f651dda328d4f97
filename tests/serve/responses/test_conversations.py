"""`/v1/conversations` as the official client meets it."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai.types.conversations import Conversation, ConversationItem
from pydantic import TypeAdapter

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.text.chat import Message, render

ITEM: TypeAdapter[Any] = TypeAdapter(ConversationItem)


def texts(items: Any) -> list[str]:
    return [item.content[0].text for item in items]


def test_a_conversation_is_made_described_and_deleted(client: openai.OpenAI) -> None:
    made = client.conversations.create(metadata={"topic": "llamas"}, items=[{"role": "user", "content": "Hello"}])
    Conversation.model_validate_json(made.to_json(), strict=True)
    assert client.conversations.retrieve(made.id) == made
    assert client.conversations.update(made.id, metadata={"topic": "cats"}).metadata == {"topic": "cats"}
    assert client.conversations.delete(made.id).deleted
    for ask in (client.conversations.retrieve, client.conversations.delete, client.conversations.items.list):
        with pytest.raises(openai.NotFoundError, match="not found"):
            ask(made.id)
    assert client.conversations.create().metadata == {}


def test_items_are_added_listed_and_taken_out(client: openai.OpenAI) -> None:
    talk = client.conversations.create(items=[{"role": "user", "content": "A"}])
    added = client.conversations.items.create(
        talk.id,
        items=[
            {"role": "assistant", "content": [{"type": "output_text", "text": "B", "annotations": []}]},
            {"role": "user", "content": "C"},
        ],
    )
    assert texts(added.data) == ["B", "C"]
    listed = client.conversations.items.list(talk.id, order="asc", limit=2)
    assert texts(listed.data) == ["A", "B"] and listed.has_more
    assert texts(listed) == ["A", "B", "C"]
    assert texts(client.conversations.items.list(talk.id).data) == ["C", "B", "A"]
    for item in listed.data:
        ITEM.validate_json(item.to_json(), strict=True)
    one = client.conversations.items.retrieve(listed.data[1].id, conversation_id=talk.id)
    assert one == listed.data[1]
    assert client.conversations.items.delete(one.id, conversation_id=talk.id).id == talk.id
    with pytest.raises(openai.NotFoundError):
        client.conversations.items.retrieve(one.id, conversation_id=talk.id)
    assert texts(client.conversations.items.list(talk.id, order="asc")) == ["A", "C"]


def test_responses_read_a_conversation_and_add_to_it(client: openai.OpenAI, engine: TorchEngine) -> None:
    talk = client.conversations.create(items=[{"role": "system", "content": "Be kind."}])
    short: Any = {"model": "tiny", "max_output_tokens": 6, "conversation": talk.id}
    first = client.responses.create(**short, input="Hello", temperature=0)
    assert first.conversation is not None and first.conversation.id == talk.id
    second = client.responses.create(**short, input="And you?", store=False)
    said = [("system", "Be kind."), ("user", "Hello"), ("assistant", first.output_text), ("user", "And you?")]
    prompt = render([Message(role=role, content=text) for role, text in said], engine.tokenizer)
    assert second.usage is not None and second.usage.input_tokens == len(prompt)
    wanted = [text for _, text in said] + [second.output_text]
    assert texts(client.conversations.items.list(talk.id, order="asc")) == wanted
    client.conversations.delete(talk.id)
    assert client.responses.retrieve(first.id).output_text == first.output_text
    with pytest.raises(openai.NotFoundError):
        client.responses.create(**short, input="x")


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([], "at least 1"),
        ([{"role": "user", "content": "x"}] * 21, "at most 20"),
        ([{"type": "item_reference", "id": "msg_x"}], "items themselves"),
        ([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "[]"}], "JSON object"),
    ],
)
def test_bad_items_are_refused(client: openai.OpenAI, items: Any, words: str) -> None:
    talk = client.conversations.create()
    with pytest.raises(openai.BadRequestError, match=words):
        client.conversations.items.create(talk.id, items=items)
    assert json.loads(client.conversations.items.list(talk.id).to_json())["data"] == []
