"""The gateway as its users meet it: through the official client, and through raw HTTP where that cannot misbehave."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ayllu.serve import gateway
from ayllu.serve.engines.engine import GenerationRequest, TextChunk
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.gateway import Limits
from ayllu.serve.header_limit import HeaderLimitProtocol
from ayllu.serve.schema import ChatBody, TextBody
from ayllu.text.chat import Message, render
from support.server import Watched, serving

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
        return client.chat.completions.create(model="tiny", messages=messages, max_tokens=1).usage

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


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role", "should be"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "missing"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type", "text"),
        ({"messages": [{"role": "user", "content": "word " * 500}]}, "messages", "shorten it"),
        ({"temperature": 3}, "temperature", "less than or equal to 2"),
        ({"temperature": float("nan")}, "temperature", "should be"),
        ({"top_p": -0.1}, "top_p", "greater than or equal to 0"),
        ({"tool_choice": "required"}, "tool_choice", "leave it out"),
        ({"function_call": {"name": "f"}}, "function_call", "leave it out"),
        ({"web_search_options": {}}, "web_search_options", "leave it out"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction", "leave it out"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content", "list"),
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]}, *HELLO]},
            "messages.0.tool_calls",
            "leave it out",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0", "needs the field"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"max_tokens": "many"}, "max_tokens", "integer"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "at most 4"),
        ({"stop": ""}, "stop.0", "at least 1"),
        ({"n": 2}, "n", "one answer"),
        ({"logprobs": True}, "logprobs", "leave it out"),
        ({"presence_penalty": 1}, "presence_penalty", "leave it out"),
        ({"tools": [{"type": "function"}]}, "tools", "leave it out"),
        ({"response_format": {"type": "json_object"}}, "response_format", "plain text"),
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


def test_hanging_up_stops_the_computing(folder: Path, engine: TorchEngine) -> None:
    watched = Watched(engine, hold_after=5)
    body = {"messages": HELLO, "temperature": 1.5, "seed": 1}
    with serving(folder, watched) as address:
        with httpx2.stream("POST", f"{address}/v1/chat/completions", json=body | {"stream": True}) as reply:
            next(reply.iter_bytes())
        _wait_until(lambda: not watched.running)
        after_stream = watched.computed
        place, content = urlsplit(address), json.dumps(body).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
        with socket.create_connection((place.hostname, place.port)) as connection:
            connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            _wait_until(lambda: watched.computed > after_stream)
        _wait_until(lambda: not watched.running)
    assert 0 < after_stream <= 5
    assert 0 < watched.computed - after_stream <= 5


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def test_when_too_many_wait_the_next_is_told_so(folder: Path, engine: TorchEngine) -> None:
    watched = Watched(engine, hold_after=1, parallel=1)
    body = {"messages": HELLO, "temperature": 1.5, "seed": 1, "stream": True}
    with serving(folder, watched, longest=0) as address, httpx2.Client(base_url=address) as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as reply:
            chunks = reply.iter_bytes()
            next(chunks)
            busy = httpx2.post(f"{address}/v1/chat/completions", json=body)
        assert busy.status_code == 503
        assert busy.headers["retry-after"]
        assert "try again" in busy.json()["error"]["message"]


class Failing(Watched):
    """An engine that breaks after its third chunk."""

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        yield from itertools.islice(super().generate(request, cancelled), 3)
        raise RuntimeError("the engine broke")


def test_an_engine_that_fails_is_said_and_does_not_stop_the_server(folder: Path, engine: TorchEngine) -> None:
    with (
        serving(folder, Failing(engine)) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        for _ in range(2):
            with pytest.raises(openai.APIError, match="its log says where"):
                list(client.chat.completions.create(model="tiny", messages=HELLO, stream=True))
            with pytest.raises(openai.InternalServerError, match="its log says where"):
                client.chat.completions.create(model="tiny", messages=HELLO)


def test_a_body_that_never_comes_is_given_up(folder: Path, engine: TorchEngine) -> None:
    with serving(folder, engine, limits=Limits(body_seconds=0.2)) as address:
        place = urlsplit(address)
        with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
            head = f"POST /v1/completions HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: 50\r\n\r\n{{".encode())
            assert b" 408 " in connection.recv(1000)


def test_a_body_without_a_length_is_limited_too(folder: Path, engine: TorchEngine) -> None:
    with serving(folder, engine, limits=Limits(body_bytes=1000)) as address:
        chunks = (b" " * 100 for _ in range(100))
        reply = httpx2.post(f"{address}/v1/completions", content=chunks, headers={"Content-Type": "application/json"})
    assert reply.status_code == 413


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
        reply = httpx2.post(f"{url}/v1/{path}", json=(first if path.startswith("chat") else {}) | nothing)
        assert reply.status_code == 200, reply.text
        nothing = dict.fromkeys(fields - first.keys())
        reply = httpx2.post(f"{url}/v1/{path}", json=nothing | first | {"max_tokens": 1})
        assert reply.status_code == 200, reply.text
        for field in fields - first.keys():
            reply = httpx2.post(f"{url}/v1/{path}", json=first | {"max_tokens": 1, field: {"strange": 1}})
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


def test_hanging_up_while_the_prompt_is_read_stops_the_reading(folder: Path, engine: TorchEngine) -> None:
    watched = Watched(engine, hold_after=3, piece=8)
    body = {"messages": [{"role": "user", "content": "word " * 60}], "stream": True}
    with serving(folder, watched) as address:
        place, content = urlsplit(address), json.dumps(body).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
        with socket.create_connection((place.hostname, place.port)) as connection:
            connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            _wait_until(lambda: watched.computed == 3)
            assert httpx2.get(f"{address}/health").json()["running"] == 1
        _wait_until(lambda: httpx2.get(f"{address}/health").json()["running"] == 0)
    assert watched.computed == 3


def test_nobody_waits_for_the_prompt_of_another(
    folder: Path, engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on, fit = threading.Event(), threading.Event(), gateway.fit_to_context

    def slow(*args: Any, **options: Any) -> Any:
        entered.set()
        assert go_on.wait(60)
        return fit(*args, **options)

    monkeypatch.setattr(gateway, "fit_to_context", slow)
    replies: list[httpx2.Response] = []
    with serving(folder, engine) as address:
        body = {"messages": HELLO, "max_tokens": 1}
        post = threading.Thread(
            target=lambda: replies.append(httpx2.post(f"{address}/v1/chat/completions", json=body, timeout=60))
        )
        post.start()
        assert entered.wait(60)
        assert httpx2.get(f"{address}/health", timeout=30).status_code == 200
        go_on.set()
        post.join(60)
    assert replies[0].status_code == 200


@pytest.mark.parametrize("first", ["", "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_half_a_head_is_not_waited_for(
    folder: Path, engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setattr(HeaderLimitProtocol, "seconds", 0.3)
    with serving(folder, engine) as address:
        place = urlsplit(address)
        with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
            connection.sendall(f"{first}GET /health HTTP/1.1\r\nX-Half: ".encode())
            received = b""
            while part := connection.recv(4096):
                received += part
    assert b" 400 " in received
    assert (b" 200 " in received) == bool(first)
