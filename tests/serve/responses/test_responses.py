"""`/v1/responses` as the official client meets it."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any, get_type_hints

import httpx2
import openai
import pytest
from openai.types.responses import response_create_params
from openai.types.responses.input_token_count_params import InputTokenCountParams
from openai.types.responses.response_includable import ResponseIncludable

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.responses.body import INCLUDES, CountBody, ResponseBody
from ayllu.text.chat import Message, render
from support.serving.responses import check_events, check_response
from support.serving.server import Watched, serving

WEATHER: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
SHORT: Any = {"model": "tiny", "max_output_tokens": 12}


def post(url: str, **body: Any) -> Any:
    return httpx2.post(f"{url}/v1/responses", json={"model": "tiny", "max_output_tokens": 8, **body}, timeout=60)


def events_of(reply: httpx2.Response) -> list[dict[str, Any]]:
    blocks = [block for block in reply.text.split("\n\n") if block and not block.startswith(":")]
    assert blocks.pop() == "data: [DONE]"
    events = []
    for block in blocks:
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def test_an_answer_is_what_the_types_of_both_apis_say(url: str, client: openai.OpenAI, engine: TorchEngine) -> None:
    reply = post(url, input="Hello", seed=1, metadata={"a": "b"}, instructions="Be kind.", user="ana")
    data = reply.json()
    assert reply.status_code == 200, data
    check_response(data)
    assert data["metadata"] == {"a": "b"} and data["instructions"] == "Be kind." and data["store"] is True
    messages = [Message(role="system", content="Be kind."), Message(role="user", content="Hello")]
    assert data["usage"]["input_tokens"] == len(render(messages, engine.tokenizer))
    kept = client.responses.retrieve(data["id"])
    assert json.loads(kept.to_json()) == data
    assert kept.output_text


def test_likelihoods_that_are_asked_for_are_told(url: str) -> None:
    asked = {"input": "Hello", "temperature": 0, "include": ["message.output_text.logprobs"], "top_logprobs": 2}
    whole = post(url, **asked).json()
    check_response(whole)
    (part,) = whole["output"][0]["content"]
    assert len(part["logprobs"]) == whole["usage"]["output_tokens"] > 0
    assert bytes(byte for token in part["logprobs"] for byte in token["bytes"]).decode(errors="replace") == part["text"]
    for token in part["logprobs"]:
        assert len(token["top_logprobs"]) == 2 and token["logprob"] <= token["top_logprobs"][0]["logprob"] <= 0
    events = events_of(post(url, **asked, stream=True))
    assert check_events(events)["output"][0]["content"] == [part]
    deltas = [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"]
    assert [token for delta in deltas for token in delta] == part["logprobs"]
    assert post(url, input="Hello").json()["output"][0]["content"][0]["logprobs"] == []


def test_a_stream_is_whole_numbered_and_the_same_as_the_answer(url: str) -> None:
    asked = {"input": "Hello", "seed": 3, "temperature": 1.0}
    whole = post(url, **asked).json()
    reply = post(url, **asked, stream=True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    final = check_events(events_of(reply))
    assert final["output"][0]["content"] == whole["output"][0]["content"]
    assert final["usage"] == whole["usage"]
    assert httpx2.get(f"{url}/v1/responses/{final['id']}").json() == final


def test_an_answer_that_is_cut_is_incomplete_and_says_why(client: openai.OpenAI) -> None:
    cut = client.responses.create(model="tiny", input="Hello", max_output_tokens=2, temperature=0)
    assert cut.status == "incomplete" and cut.completed_at is None
    assert cut.incomplete_details is not None and cut.incomplete_details.reason == "max_output_tokens"
    assert cut.output[0].status == "incomplete"  # type: ignore[union-attr]
    with client.responses.stream(model="tiny", input="Hello", max_output_tokens=2, temperature=0) as stream:
        assert [event.type for event in stream][-1] == "response.incomplete"


def test_the_stream_helper_of_the_official_client_works_to_the_end(folder: Path, engine: TorchEngine) -> None:
    ending = Watched(engine)  # the model has learnt nothing, so that its answers end only where nearly all ids end them
    ending.tokenizer.stops = frozenset(range(30, engine.tokenizer.size))
    with (
        serving(folder, ending) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="x") as client,
        client.responses.stream(model="tiny", input="Hello") as stream,
    ):
        events = list(stream)
        final = stream.get_final_response()
    assert final.status == "completed" and final.completed_at is not None
    assert final.output_text == "".join(e.delta for e in events if e.type == "response.output_text.delta")


def test_a_response_goes_on_from_another_without_its_instructions(client: openai.OpenAI, engine: TorchEngine) -> None:
    first = client.responses.create(**SHORT, input="Hello", instructions="Be kind.")
    second = client.responses.create(**SHORT, input="And you?", previous_response_id=first.id, store=False)
    said = [("user", "Hello"), ("assistant", first.output_text), ("user", "And you?")]
    prompt = render([Message(role=role, content=text) for role, text in said], engine.tokenizer)
    assert second.usage is not None and second.usage.input_tokens == len(prompt)
    assert second.previous_response_id == first.id
    assert second.instructions is None


def test_what_is_not_stored_is_nowhere(client: openai.OpenAI) -> None:
    made = client.responses.create(**SHORT, input="Hello", store=False)
    for ask in (
        lambda: client.responses.retrieve(made.id),
        lambda: client.responses.delete(made.id),
        lambda: client.responses.cancel(made.id),
        lambda: list(client.responses.input_items.list(made.id)),
    ):
        with pytest.raises(openai.NotFoundError, match="not found"):
            ask()
    with pytest.raises(openai.BadRequestError, match="previous response with id") as caught:
        client.responses.create(**SHORT, input="x", previous_response_id=made.id)
    assert caught.value.code == "previous_response_not_found"


def test_a_deleted_response_is_gone_and_ends_what_stands_on_it(client: openai.OpenAI) -> None:
    first = client.responses.create(**SHORT, input="Hello")
    second = client.responses.create(**SHORT, input="x", previous_response_id=first.id)
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    assert client.responses.retrieve(second.id).status
    with pytest.raises(openai.BadRequestError, match=first.id):
        client.responses.create(**SHORT, input="y", previous_response_id=second.id)


def test_the_items_that_went_in_are_listed_in_pages(client: openai.OpenAI, url: str) -> None:
    given: Any = [
        {"role": "system", "content": "S"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "A"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "B", "annotations": []}]},
        {"role": "user", "content": "C"},
    ]
    made = client.responses.create(**SHORT, input=given)
    listed = client.responses.input_items.list(made.id, limit=2, order="asc")
    items = list(listed)
    assert [item.content[0].text for item in items] == ["S", "A", "B", "C"]  # type: ignore[union-attr]
    assert listed.has_more and len(listed.data) == 2
    newest = client.responses.input_items.list(made.id).data
    assert [item.id for item in newest] == [item.id for item in reversed(items)]
    after = client.responses.input_items.list(made.id, after=items[2].id).data
    assert [item.id for item in after] == [items[1].id, items[0].id]
    with pytest.raises(openai.BadRequestError, match="no item"):
        client.responses.input_items.list(made.id, after="msg_none")
    again = client.responses.create(**SHORT, input=[{"type": "item_reference", "id": items[1].id}])
    assert client.responses.input_items.list(again.id).data[0].content[0].text == "A"  # type: ignore[union-attr]


def test_tokens_of_a_prompt_are_counted(client: openai.OpenAI, engine: TorchEngine) -> None:
    found = client.responses.input_tokens.count(model="tiny", input="Hello")
    assert found.input_tokens == len(render([Message(role="user", content="Hello")], engine.tokenizer))
    assert client.responses.input_tokens.count(model="tiny", input="word " * 500).input_tokens > engine.context


def test_a_long_past_is_refused_or_cut_as_the_body_says(client: openai.OpenAI) -> None:
    long: Any = [{"role": "user", "content": "word " * 60}, {"role": "assistant", "content": "x"}] * 4
    with pytest.raises(openai.BadRequestError, match="maximum context length") as caught:
        client.responses.create(**SHORT, input=[*long, {"role": "user", "content": "Hello"}])
    assert caught.value.code == "context_length_exceeded" and caught.value.param == "input"
    asked = client.responses.create(**SHORT, input=[*long, {"role": "user", "content": "Hello"}], truncation="auto")
    assert asked.truncation == "auto" and asked.output_text


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"input": None}, None, "input is missing"),
        ({"input": [{"type": "computer_call", "id": "x"}]}, "input.0", "items of type message"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input.0.message.role", "should be"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.message.content.0.type", "text"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input.0.message.content.0", "its text"),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]},
            "input",
            "no tool call found for function call output with call_id c",
        ),
        ({"temprature": 1}, "temprature", "not a parameter"),
        ({"temperature": 3}, "temperature", "less than or equal"),
        ({"prompt": {"id": "p"}}, "prompt", "send its text"),
        ({"moderation": {"model": "m"}}, "moderation", "ask /v1/moderations"),
        ({"context_management": [{"type": "compaction"}]}, "context_management", "nothing is compacted"),
        ({"tools": [WEATHER | {"async": True}]}, "tools.0.async", "waits for what its calls give"),
        ({"tools": [WEATHER | {"allowed_callers": ["programmatic"]}]}, "tools.0.allowed_callers", 'add "direct"'),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type", "function"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools.0.name", "pattern"),
        ({"tools": [{"type": "file_search"}]}, "tools.0.vector_store_ids", "missing"),
        ({"include": ["everything"]}, "include.0", "should be"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "at most 16"),
        ({"background": True, "store": False}, None, "must be stored"),
        ({"conversation": "conv_none"}, "conversation", "not found"),
        ({"conversation": "c", "previous_response_id": "r"}, None, "do not go together"),
        ({"previous_response_id": "a/b"}, "previous_response_id", "pattern"),
        ({"tool_choice": "required"}, "tool_choice", "no tools"),
        ({"model": "other"}, "model", "not served"),
        ({"top_logprobs": 21}, "top_logprobs", "less than or equal"),
    ],
)
def test_bad_input_is_refused_in_a_sentence_that_names_the_field(
    url: str, change: dict[str, Any], param: str | None, words: str
) -> None:
    reply = post(url, **{"input": "x", **change})
    error = reply.json()["error"]
    assert reply.status_code in (400, 404)
    assert (error["param"], set(error)) == (param, {"message", "type", "param", "code"})
    assert words in error["message"]


def test_every_field_of_the_official_request_is_known_here() -> None:
    """Supported, refused by name, or ignored without harm: `body.py` says which."""
    official = set(get_type_hints(response_create_params.ResponseCreateParamsNonStreaming)) | {"stream"}
    assert official <= set(ResponseBody.model_fields)
    assert set(get_type_hints(InputTokenCountParams)) <= set(CountBody.model_fields)
    assert set(typing.get_args(ResponseIncludable)) <= set(INCLUDES)


@pytest.mark.parametrize("path", ["%00", "a%2Fb", "x" * 300, "resp_%F0%9F%A6%99"])
def test_names_that_are_none_are_not_found(url: str, path: str) -> None:
    for method, place in [
        ("GET", f"responses/{path}"),
        ("DELETE", f"responses/{path}"),
        ("POST", f"responses/{path}/cancel"),
        ("GET", f"responses/{path}/input_items"),
        ("GET", f"conversations/{path}"),
        ("DELETE", f"conversations/{path}/items/x"),
    ]:
        reply = httpx2.request(method, f"{url}/v1/{place}")
        assert reply.status_code == 404, place
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_a_text_format_is_kept_to(client: openai.OpenAI, url: str) -> None:
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["llama", "cat"]}},
        "required": ["kind"],
        "additionalProperties": False,
    }
    form: Any = {"format": {"type": "json_schema", "name": "animal", "schema": schema, "strict": True}}
    data = post(url, input="Hello", text=form, max_output_tokens=100).json()
    check_response(data)
    assert data["text"]["format"]["schema"] == schema
    assert json.loads(data["output"][0]["content"][0]["text"])["kind"] in ("llama", "cat")
    check_events(events_of(post(url, input="Hello", text=form, max_output_tokens=100, stream=True)))
    unable = {"type": "array", "uniqueItems": True}
    with pytest.raises(openai.BadRequestError, match="uniqueItems") as caught:
        client.responses.create(
            model="tiny", input="x", text={"format": {"type": "json_schema", "name": "x", "schema": unable}}
        )
    assert caught.value.param == "text.format"
