"""The gateway as its users meet it: through the official client, and through raw HTTP where that cannot misbehave."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ayllu.serve.completions.body import ChatBody, TextBody
from ayllu.serve.engines.engine import GenerationRequest, TextChunk
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.text.chat import Message, render
from support.serving.server import Watched, serving

HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_model_is_listed(client: openai.OpenAI, engine: TorchEngine) -> None:
    model = client.models.list().data[0]
    assert model.id == "tiny"
    assert model.model_dump()["meta"]["parameters"] == engine.parameters
    assert client.models.retrieve("tiny") == model


def test_the_model_card_is_there_or_said_to_be_missing(folder: Path, engine: TorchEngine, tmp_path: Path) -> None:
    shutil.copytree(folder, place := tmp_path / "carded")
    (place / "README.md").write_text("# Ñusta\n", encoding="utf-8")
    with serving(place, engine) as address:
        assert httpx2.get(f"{address}/card").text == "# Ñusta\n"
        assert httpx2.get(f"{address}/v1/models").json()["data"][0]["meta"]["card"] is True
    with serving(folder, engine) as address:
        assert httpx2.get(f"{address}/card").status_code == 404


def test_an_answer_streamed_and_whole_is_the_same(client: openai.OpenAI, engine: TorchEngine) -> None:
    whole = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=30, seed=5)
    stream = client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=30, seed=5, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert whole.choices[0].message.role == chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks[-2:-1]] == [whole.choices[0].finish_reason]
    assert chunks[-1].usage == whole.usage
    assert len({c.id for c in chunks}) == 1
    prompt = render([Message(role="user", content="Hello")], engine.tokenizer)
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == len(prompt)
    assert whole.usage.total_tokens == len(prompt) + whole.usage.completion_tokens


def test_seed_temperature_and_stop_do_what_they_say(client: openai.OpenAI) -> None:
    def answer(**options: Any) -> Any:
        made = client.chat.completions.create(model="tiny", messages=HELLO, **{"max_completion_tokens": 40, **options})
        return made.choices[0]

    assert answer(seed=1).message.content == answer(seed=1).message.content
    assert answer(seed=1).message.content != answer(seed=2).message.content
    assert answer(temperature=0).message.content == answer(temperature=1e-30).message.content
    whole = answer(seed=1).message.content
    cut = answer(seed=1, stop=whole[12:15])
    assert cut.message.content == whole[: whole.find(whole[12:15])]
    assert cut.finish_reason == "stop"
    assert answer(max_completion_tokens=3, seed=1).finish_reason == "length"


def test_messages_in_parts_and_of_the_developer(client: openai.OpenAI) -> None:
    def usage(messages: Any) -> Any:
        return client.chat.completions.create(model="tiny", messages=messages, max_tokens=1, seed=1).usage

    plain = [{"role": "system", "content": "Be kind."}, *HELLO]
    parts = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]},
    ]
    assert usage(plain) == usage(parts)


def test_text_completions(client: openai.OpenAI, engine: TorchEngine) -> None:
    both = client.completions.create(model="tiny", prompt=["The llama", "A boy"], temperature=0)
    ids = [[engine.tokenizer.bos, *engine.tokenizer.encode(text)] for text in ("The llama", "A boy")]
    by_id = client.completions.create(model="tiny", prompt=ids, temperature=0)
    assert [c.text for c in both.choices] == [c.text for c in by_id.choices]
    assert [c.index for c in both.choices] == [0, 1]
    assert both.usage is not None
    assert both.usage.prompt_tokens == sum(len(prompt) for prompt in ids)
    assert both.usage.completion_tokens == 16 * [c.finish_reason for c in both.choices].count("length") > 0
    single = client.completions.create(model="tiny", prompt="A boy", temperature=0, stream=True)
    assert "".join(c.choices[0].text for c in single) == both.choices[1].text


def test_the_asynchronous_client_and_many_at_once(url: str) -> None:
    async def scenario() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            calls = [
                client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=10, seed=i % 2)
                for i in range(8)
            ]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]

    answers = asyncio.run(scenario())
    assert len(set(answers)) == 2


def test_a_long_conversation_loses_its_oldest_turns(client: openai.OpenAI) -> None:
    turn: Any = [*HELLO, {"role": "assistant", "content": "Hello to you, my friend."}]
    raw = client.chat.completions.with_raw_response.create(model="tiny", messages=[*turn * 20, *HELLO], max_tokens=10)
    assert int(raw.headers["x-dropped-messages"]) >= 2
    with pytest.raises(openai.BadRequestError, match="this model's maximum context length is 256 tokens") as caught:
        client.chat.completions.create(
            model="tiny", messages=[*turn * 20, *HELLO], extra_body={"truncation": "disabled"}
        )
    assert caught.value.code == "context_length_exceeded"


TOOL: Any = {"type": "function", "function": {"name": "f"}}
CALLED: Any = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE: Any = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/x.png"}}
UNIQUE: Any = {
    "type": "json_schema",
    "json_schema": {"name": "x", "schema": {"type": "array", "uniqueItems": True}},
}


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role", "should be"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "missing"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type", "text"),
        ({"messages": [{"role": "user", "content": "word " * 500}]}, "messages", "shorten it"),
        ({"temperature": 3}, "temperature", "less than or equal to 2"),
        ({"temperature": float("nan")}, None, "NaN is no number"),
        ({"top_p": -0.1}, "top_p", "greater than or equal to 0"),
        ({"tool_choice": "required"}, "tool_choice", "there are no tools"),
        ({"tool_choice": "always"}, "tool_choice", "allowed_tools"),
        ({"tool_choice": {"type": "custom", "custom": {"name": "f"}}}, "tool_choice", "allowed_tools"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice", "no tool f"),
        ({"function_call": {"name": "f"}}, "tool_choice", "no tool f"),
        ({"web_search_options": {}}, "web_search_options", "leave it out"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction", "leave it out"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content", "list"),
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]}, *HELLO]},
            "messages.0.tool_calls.0.function",
            "missing",
        ),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}]}, "messages.0.tool_call_id", "no call"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0", "needs the field tool_call_id"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [CALLED]}]}, "messages.0", "of the assistant"),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [CALLED | {"function": {"name": "f", "arguments": "["}}]}
                ]
            },
            "messages.0.tool_calls.0.function.arguments",
            "JSON object",
        ),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages.0.content.0.type", "follows no link"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0", "needs the field"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"max_tokens": "many"}, "max_tokens", "number"),
        ({"max_tokens": True}, "max_tokens", "number"),
        ({"n": 1.5}, "n", "integer"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "at most 4"),
        ({"stop": ""}, "stop.0", "at least 1"),
        ({"n": 129}, "n", "less than or equal to 128"),
        ({"top_logprobs": 2}, "top_logprobs", "needs logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "less than or equal to 20"),
        ({"presence_penalty": 2.5}, "presence_penalty", "less than or equal to 2"),
        ({"logit_bias": {"600": 1}}, "logit_bias", "ids are from 0 to 599"),
        ({"logit_bias": {"a": 1}}, "logit_bias", "no token 'a'"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1", "less than or equal to 100"),
        ({"min_p": 2}, "min_p", "less than or equal to 1"),
        ({"tools": [{"type": "function"}]}, "tools.0.function", "missing"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools.0.type", "of the type function only"),
        ({"tools": [TOOL, TOOL]}, "tools", "two of them are called f"),
        ({"tools": [TOOL], "functions": [{"name": "g"}]}, "functions", "give one of them"),
        ({"response_format": {"type": "yaml"}}, "response_format", "json_schema"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "needs the field json_schema"),
        ({"response_format": UNIQUE}, "response_format", "uniqueItems"),
        ({"response_format": {"type": "json_object"}, "guided_regex": "a"}, "guided_regex", "give one of them"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs", "exactly one"),
        ({"temprature": 1}, "temprature", "not a parameter"),
        ({"\ud800": 1}, None, "not Unicode"),
        ({"stream": "perhaps"}, "stream", "boolean"),
    ],
)
def test_bad_input_is_refused_in_a_sentence_that_names_the_field(
    url: str, change: dict[str, Any], param: str | None, words: str
) -> None:
    body = json.dumps({"model": "tiny", "messages": HELLO, "max_tokens": 2} | change)
    reply = httpx2.post(f"{url}/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert words in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/chat/completions", b'{"a', 400),
        ("POST", "/v1/chat/completions", b"[" * 200_000, 400),
        ("POST", "/v1/chat/completions", b"\xff\xfe", 400),
        ("POST", "/v1/chat/completions", b"[]", 400),
        ("POST", "/v1/completions", b'{"prompt": []}', 400),
        ("POST", "/v1/completions", b'{"prompt": [[]]}', 400),
        ("POST", "/v1/completions", b'{"prompt": [99999999]}', 400),
        ("POST", "/v1/completions", b'{"prompt": {"text": "x"}}', 400),
        ("POST", "/v1/completions", b" " * 2_000_000, 413),
        ("POST", "/v1/chat/completions", b'{"model": "other", "messages": [{"role": "user", "content": "x"}]}', 404),
        ("GET", "/v1/models/other", b"", 404),
        ("GET", "/nowhere", b"", 404),
        ("GET", "/static/../gateway.py", b"", 404),
        ("GET", "/static/%2e%2e/gateway.py", b"", 404),
        ("DELETE", "/v1/models", b"", 405),
    ],
)
def test_every_problem_has_an_error_body(url: str, method: str, path: str, content: bytes, status: int) -> None:
    reply = httpx2.request(method, url + path, content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == status
    assert reply.json()["error"]["message"]


PATHS = ("chat/completions", "completions")
Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(sorted({*ChatBody.model_fields, *TextBody.model_fields}))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(FIELDS | st.text(max_size=5), Json, max_size=3),
    st.sampled_from(["chat/completions", "completions"]),
)
def test_no_body_breaks_the_server(url: str, change: dict[str, Any], path: str) -> None:
    first: dict[str, Any] = {"prompt": "x"} if path == "completions" else {"messages": HELLO}
    body = json.dumps(first | {"max_tokens": 2} | change)
    reply = httpx2.post(f"{url}/v1/{path}", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code in (200, 400, 404)
    assert '"server_error"' not in reply.text


def test_foreign_pages_and_names_are_refused(url: str) -> None:
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 1}
    port = urlsplit(url).port

    def status(**headers: str) -> int:
        return httpx2.post(f"{url}/v1/chat/completions", json=body, headers=headers).status_code

    assert status() == status(Origin=url) == 200
    assert status(Host=f"localhost:{port}", Origin=f"http://localhost:{port}") == 200
    assert status(Origin="https://elsewhere.example") == 403
    assert status(Origin="null") == 403
    assert status(Origin=f"http://localhost:{port}") == 403
    assert status(Host=f"rebound.example:{port}", Origin=f"http://rebound.example:{port}") == 403
    assert httpx2.get(url, headers={"Host": "rebound.example"}).status_code == 403


def test_a_form_of_another_page_cannot_ask(url: str) -> None:
    body = json.dumps({"messages": HELLO})
    reply = httpx2.post(f"{url}/v1/chat/completions", content=body, headers={"Content-Type": "text/plain"})
    assert reply.status_code == 400


def test_browsers_are_told_what_the_page_may_do(url: str) -> None:
    for path in ("/", "/static/index.html", "/v1/models", "/nowhere"):
        headers = httpx2.get(url + path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"


class Speaking(Watched):
    """An engine that says `text`."""

    def __init__(self, engine: TorchEngine, text: str) -> None:
        super().__init__(engine)
        self.text = text

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        yield TextChunk(text=self.text, tokens=1)
        yield TextChunk(text="", finish_reason="stop")


def test_an_answer_may_hold_every_line_end_of_unicode(folder: Path, engine: TorchEngine) -> None:
    text = "a\u2028b\u2029c\x85d\re\nf\x0bg\x0ch\x1ci"
    body = {"messages": HELLO, "stream": True}
    with serving(folder, Speaking(engine, text)) as address:
        with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
            stream = client.chat.completions.create(model="tiny", messages=HELLO, stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == text
        # Readers that end a line at each of them, as httpx's iter_lines does.
        lines = httpx2.post(f"{address}/v1/chat/completions", json=body).text.splitlines()
        events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
        assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == text


HOLLOW: list[dict[str, Any]] = [
    {"stream": None},
    {"stream": True, "stream_options": {"include_usage": None}},
    {"function_call": "none"},
    {"tool_choice": "none"},
    {"tool_choice": "auto", "tools": []},
    {"prompt_cache_retention": "24h"},
    {"top_p": 0},
    {"top_p": 1e-46},
    {"temperature": 1e-300},
    {"messages": [{"role": "system", "content": "Be kind."}]},
    {"messages": [*HELLO, {"role": "assistant", "content": None}, *HELLO]},
    {"messages": [*HELLO, {"role": "assistant", "refusal": "No.", "tool_calls": None}, *HELLO]},
    {"messages": [*HELLO, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, *HELLO]},
]


@pytest.mark.parametrize("change", HOLLOW)
def test_values_that_the_official_types_allow_are_taken(url: str, change: dict[str, Any]) -> None:
    reply = httpx2.post(f"{url}/v1/chat/completions", json={"messages": HELLO, "max_tokens": 2} | change)
    assert reply.status_code == 200, reply.text
    assert "error" not in reply.text


def test_every_field_of_the_official_types_is_known_and_may_be_null(url: str) -> None:
    from openai.types import completion_create_params as text
    from openai.types.chat import completion_create_params as chat

    needed: list[tuple[str, Any, dict[str, Any]]] = [
        ("chat/completions", chat.CompletionCreateParamsStreaming, {"messages": HELLO}),
        ("completions", text.CompletionCreateParamsStreaming, {"prompt": "x"}),
    ]
    for path, params, first in needed:
        fields = set(params.__annotations__) | {f for base in params.__orig_bases__ for f in base.__annotations__}
        assert len(fields) > 10
        nothing: dict[str, Any] = dict.fromkeys(fields - {"messages"})
        reply = httpx2.post(f"{url}/v1/{path}", json=(first if path.startswith("chat") else {}) | nothing, timeout=60)
        assert reply.status_code == 200, reply.text
        nothing = dict.fromkeys(fields - first.keys())
        reply = httpx2.post(f"{url}/v1/{path}", json=nothing | first | {"max_tokens": 1}, timeout=60)
        assert reply.status_code == 200, reply.text
        for field in fields - first.keys():
            reply = httpx2.post(f"{url}/v1/{path}", json=first | {"max_tokens": 1, field: {"strange": 1}}, timeout=60)
            assert reply.status_code == 200 or "is not a parameter" not in reply.text, reply.text


def test_the_models_are_found_by_head_and_behind_a_slash_too(url: str) -> None:
    assert httpx2.head(f"{url}/v1/models").status_code == httpx2.head(f"{url}/v1/models/tiny").status_code == 200
    assert httpx2.get(f"{url}/v1/models/").json() == httpx2.get(f"{url}/v1/models").json()


def test_a_model_answers_to_each_of_its_names_and_the_server_to_each_of_its_hosts(
    folder: Path, engine: TorchEngine
) -> None:
    hosts = ("host.docker.internal", "Workstation")
    body = {"model": "little", "messages": HELLO, "max_tokens": 1}
    with serving(folder, engine, aliases=["little", "tiny"], hosts=hosts) as address:
        assert [m["id"] for m in httpx2.get(f"{address}/v1/models").json()["data"]] == ["tiny", "little"]
        assert httpx2.get(f"{address}/v1/models/little").json()["id"] == "little"
        for host in ("host.docker.internal:8080", "workstation", "WORKSTATION:1", "workstation."):
            reply = httpx2.post(f"{address}/v1/chat/completions", json=body, headers={"Host": host})
            assert reply.status_code == 200
        assert httpx2.get(f"{address}/health", headers={"Host": "elsewhere.example"}).status_code == 403


def test_a_prompt_that_is_too_long_is_said_in_words_that_clients_know(url: str) -> None:
    long = "word " * 500
    bodies = {
        "chat/completions": {"messages": [{"role": "user", "content": long}]},
        "completions": {"prompt": long},
    }
    for path, body in bodies.items():
        error = httpx2.post(f"{url}/v1/{path}", json=body).json()["error"]
        assert error["code"] == "context_length_exceeded"
        # What LiteLLM 1.90 looks for: litellm_core_utils/exception_mapping_utils.py.
        assert "this model's maximum context length is" in error["message"].lower()
