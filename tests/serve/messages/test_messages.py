"""`/v1/messages` as Anthropic's own client meets it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import anthropic
import httpx2
import pytest
from anthropic.types import Message as OfficialMessage
from anthropic.types import MessageTokensCount, RawMessageStreamEvent
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from pydantic import BaseModel, Field, TypeAdapter

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.grammar import Follower, compile_json_schema
from ayllu.serve.messages.body import CountBody, MessagesBody
from ayllu.text.chat import Message, render
from support.serving.server import Watched, serving

EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
HELLO: Any = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 12}
WEATHER: Any = {
    "name": "weather",
    "description": "The weather in a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Lima", "Cusco"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


@pytest.fixture
def client(url: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client:
        yield client


def post(url: str, **body: Any) -> httpx2.Response:
    return httpx2.post(f"{url}/v1/messages", json={**HELLO, **body}, timeout=60)


def events_of(reply: httpx2.Response) -> list[dict[str, Any]]:
    """The events of a stream, each of which is what the official types say."""
    events = []
    for block in reply.text.split("\n\n"):
        if not block or block.startswith(":"):
            continue
        name, data = block.split("\n")
        EVENT.validate_json(data.removeprefix("data: "), strict=True)
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def test_an_answer_is_what_the_official_types_say(url: str, engine: TorchEngine) -> None:
    data = post(url, system="Be kind.", temperature=0).json()
    message = OfficialMessage.model_validate_json(json.dumps(data), strict=True)
    assert set(data) <= set(OfficialMessage.model_fields)
    assert message.stop_reason in ("end_turn", "max_tokens")
    said = [Message(role="system", content="Be kind."), Message(role="user", content="Hello")]
    assert message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0) == len(
        render(said, engine.tokenizer)
    )
    assert message.usage.output_tokens > 0


def test_a_stream_adds_up_to_the_answer(client: anthropic.Anthropic, url: str) -> None:
    asked: Any = {**HELLO, "extra_body": {"temperature": 0}}
    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert [block.to_dict() for block in final.content] == [block.to_dict() for block in whole.content]
    assert final.stop_reason == whole.stop_reason
    assert text == whole.content[0].text  # type: ignore[union-attr]
    kinds = [event["type"] for event in events_of(post(url, stream=True, temperature=0))]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


def test_tokens_are_counted(client: anthropic.Anthropic, engine: TorchEngine) -> None:
    found = client.messages.count_tokens(model="tiny", messages=HELLO["messages"])
    MessageTokensCount.model_validate_json(found.to_json(), strict=True)
    assert found.input_tokens == len(render([Message(role="user", content="Hello")], engine.tokenizer))
    told = client.messages.count_tokens(model="tiny", messages=HELLO["messages"], tools=[WEATHER])
    assert told.input_tokens > found.input_tokens


def test_a_stop_sequence_ends_the_answer_and_is_named(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(**HELLO, extra_body={"temperature": 0})
    text = whole.content[0].text  # type: ignore[union-attr]
    stop = text[4:6]
    cut = client.messages.create(**HELLO, stop_sequences=["never said", stop], extra_body={"temperature": 0})
    assert (cut.stop_reason, cut.stop_sequence) == ("stop_sequence", stop)
    assert "".join(block.text for block in cut.content) == text[: text.find(stop)]  # type: ignore[union-attr]


def test_an_answer_that_is_cut_says_by_what(client: anthropic.Anthropic, folder: Path, engine: TorchEngine) -> None:
    assert client.messages.create(**{**HELLO, "max_tokens": 1}).stop_reason == "max_tokens"
    with serving(folder, Watched(engine)) as url, anthropic.Anthropic(base_url=url, api_key="x") as other:
        filled = other.messages.create(**{**HELLO, "max_tokens": 10_000})
    assert filled.stop_reason == "model_context_window_exceeded"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "messages.0.content.0"),
        ({"messages": [*HELLO["messages"], {"role": "assistant", "content": "I"}]}, "go on from within"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools.0"),
        (
            {"tools": [WEATHER | {"allowed_callers": ["code_execution_20250825"]}]},
            "tools.0.allowed_callers: only the model",
        ),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool"}}, "needs a name"),
        ({"tool_choice": {"type": "any"}}, "no tools"),
        ({"container": {"id": "c"}}, "container"),
        ({"mcp_servers": []}, "mcp_servers is not a parameter"),
        ({"messages": [{"role": "user", "content": "word " * 500}]}, "maximum context length"),
    ],
)
def test_bad_input_is_refused_in_anthropics_form(url: str, change: dict[str, Any], words: str) -> None:
    reply = post(url, **change)
    assert reply.status_code == 400
    data = reply.json()
    assert (data["type"], data["error"]["type"]) == ("error", "invalid_request_error")
    assert words in data["error"]["message"]


def test_errors_of_each_kind_reach_the_client_as_its_own(client: anthropic.Anthropic, url: str) -> None:
    with pytest.raises(anthropic.NotFoundError, match="not served"):
        client.messages.create(**{**HELLO, "model": "other"})
    broken = httpx2.post(f"{url}/v1/messages", content=b"{", headers={"Content-Type": "application/json"})
    assert broken.status_code == 400 and broken.json()["error"]["message"].startswith("the body is not JSON")


def test_a_full_line_is_told_when_to_come_again(folder: Path, engine: TorchEngine) -> None:
    held = Watched(engine, hold_after=1, parallel=1)
    with (
        serving(folder, held, longest=0) as url,
        anthropic.Anthropic(base_url=url, api_key="x", max_retries=0) as client,
        client.messages.create(**HELLO, stream=True) as stream,
    ):
        assert next(iter(stream)).type == "message_start"
        deadline = time.monotonic() + 60
        while not held.running:
            assert time.monotonic() < deadline, "the answer never began"
            time.sleep(0.01)
        with pytest.raises(anthropic.RateLimitError, match="try again") as caught:
            client.messages.create(**HELLO)
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 120


def test_every_field_of_the_official_requests_is_known_here() -> None:
    """Supported, refused by name, or ignored without harm: `body.py` says which."""
    assert set(get_type_hints(MessageCreateParamsNonStreaming)) <= set(MessagesBody.model_fields)
    assert set(get_type_hints(MessageCountTokensParams)) <= set(CountBody.model_fields)


def test_a_tool_is_called_and_its_result_taken(roomy_url: str) -> None:
    url, client = roomy_url, anthropic.Anthropic(base_url=roomy_url, api_key="none", max_retries=0)
    asked: Any = {**HELLO, "max_tokens": 80, "tools": [WEATHER], "tool_choice": {"type": "any"}}
    asked["tool_choice"]["disable_parallel_tool_use"] = True
    made = client.messages.create(**asked)
    assert made.stop_reason == "tool_use"
    (use,) = made.content
    assert use.type == "tool_use" and use.name == "weather" and use.input["city"] in ("Lima", "Cusco")
    with client.messages.stream(**asked) as stream:
        (streamed,) = stream.get_final_message().content
    assert streamed.type == "tool_use" and streamed.input["city"] in ("Lima", "Cusco")
    events_of(post(url, **{**asked, "stream": True}))
    result: Any = {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "Sunny"}]}
    turns = [*HELLO["messages"], {"role": "assistant", "content": made.content}, {"role": "user", "content": [result]}]
    after = client.messages.create(**{**HELLO, "messages": turns, "tools": [WEATHER]})
    assert after.usage.input_tokens > made.usage.input_tokens
    with pytest.raises(anthropic.BadRequestError, match="no tool_use with the id"):
        client.messages.create(**{**HELLO, "messages": [{"role": "user", "content": [result]}]})


def test_an_output_format_is_kept_to(client: anthropic.Anthropic) -> None:
    form: Any = {"format": {"type": "json_schema", "schema": WEATHER["input_schema"]}}
    made = client.messages.create(**{**HELLO, "max_tokens": 80}, output_config=form)
    assert json.loads(made.content[0].text)["city"] in ("Lima", "Cusco")  # type: ignore[union-attr]


class Basket(BaseModel):
    """Fields that are dictionaries."""

    counts: Annotated[dict[str, Literal[1, 2, 3]], Field(min_length=1, max_length=2)]
    owners: dict[str, str]


def test_dictionaries_are_open_unless_the_client_closes_them() -> None:
    """Its `parse` closes every object before it is sent, so that nothing but {} fulfils what comes here."""

    def begins(schema: dict[str, Any], text: str) -> bool:
        return Follower(compile_json_schema(schema)).push(text)

    schema, closed = Basket.model_json_schema(), anthropic.transform_schema(Basket)
    assert begins(schema, '{"counts": {"apples": 3}, "owners": {"Ana": "Lima", "Luz": "Cusco"}}')
    assert not begins(schema, '{"counts": {}')
    assert begins(closed, '{"counts": {}, "owners": {}}')
    assert not begins(closed, '{"counts": {"')
