"""Servers that answer oddly: what they say is refused in a sentence, and never counted as a likelihood or an answer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ayllu.evals.endpoint import client
from ayllu.evals.endpoint.client import Endpoint, _pause, chat_text
from ayllu.evals.endpoint.respondent import EndpointRespondent
from ayllu.evals.standard.table import TASKS
from ayllu.lab.error import UserError

Answer = Callable[["Odd", dict[str, Any]], None]


class Odd(BaseHTTPRequestHandler):
    """One model, and whatever `says` sends."""

    says: Answer
    models = 200
    headers_of_models: dict[str, str]
    listed: list[dict[str, Any]]

    def do_GET(self) -> None:
        self.send(self.models, {"data": self.listed}, **self.headers_of_models)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        type(self).says(self, body)

    def send(self, status: int, content: object, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *given: object) -> None:
        pass


@contextmanager
def odd(says: Answer, **given: Any) -> Iterator[str]:
    handler = type("Handler", (Odd,), {"says": says, "headers_of_models": {}, "listed": [{"id": "m"}], **given})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.0)


def completion(choices: Callable[[str], dict[str, Any]]) -> Answer:
    def says(server: Odd, body: dict[str, Any]) -> None:
        if "prompt" not in body:
            server.send(400, {"error": {"message": "no chat here"}})
        else:
            server.send(200, {"choices": [{"index": n, **choices(text)} for n, text in enumerate(body["prompt"])]})

    return says


def logprobs(text: str, value: float, at: int = 0) -> dict[str, Any]:
    return {
        "tokens": [text[at:], "!"],
        "text_offset": [at, len(text)],
        "token_logprobs": [value, -9.0],
        "top_logprobs": [{"x": value}, {"x": -9.0}],
    }


@pytest.mark.parametrize(
    "choice",
    [
        # The echo is not understood: what is told is of the token that the server wrote itself.
        lambda text: {"text": "!", "logprobs": logprobs("!", -0.5)},
        # Another text than the one that was asked.
        lambda text: {"text": text.upper(), "logprobs": logprobs(text, -0.5)},
        # Probabilities for their logarithms.
        lambda text: {"text": text + "!", "logprobs": logprobs(text, 0.5)},
        lambda text: {"text": text + "!", "logprobs": None},
        lambda text: {"text": text + "!", "logprobs": logprobs(text, float("-inf"))},
        lambda text: {"text": text + "!", "logprobs": {"content": []}},
    ],
    ids=["no-echo", "another-text", "probabilities", "none", "infinite", "chat-form"],
)
def test_what_is_no_log_probability_of_the_prompt_is_not_taken_for_one(choice: Callable[[str], dict[str, Any]]) -> None:
    with odd(completion(choice)) as address:
        respondent = EndpointRespondent(Endpoint(address))
    assert "does not tell how likely a given text is" in respondent.cannot(TASKS["piqa"])


def test_an_echo_that_is_one_is_taken() -> None:
    with odd(completion(lambda text: {"text": text + "!", "logprobs": logprobs(text, -0.5)})) as address:
        assert EndpointRespondent(Endpoint(address)).cannot(TASKS["piqa"]) == ""


def deep(server: Odd, body: dict[str, Any]) -> None:
    server.send(200, b"[" * 100_000)


def no_gzip(server: Odd, body: dict[str, Any]) -> None:
    server.send(200, b"plain", content_encoding="gzip")


def large(server: Odd, body: dict[str, Any]) -> None:
    server.send(200, b" " * 3000)


def dribbles(server: Odd, body: dict[str, Any]) -> None:
    server.send_response(200)
    server.end_headers()
    for _ in range(200):
        server.wfile.write(b" ")
        server.wfile.flush()
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (deep, "is not what OpenAI's API has there"),
        (lambda server, body: server.send(200, b'{"choices": [{"mess'), "is not what OpenAI's API has there"),
        (lambda server, body: server.send(200, {"choices": []}), "is not what OpenAI's API has there"),
        (lambda server, body: server.send(200, {"error": "no"}), "is not what OpenAI's API has there"),
        (no_gzip, "DecodingError"),
        (large, "larger than"),
        (dribbles, "took longer than"),
        (lambda server, body: server.send(500, b"\xff\xfe"), "status 500"),
        (lambda server, body: server.send(429, {}, retry_after="nan"), "status 429"),
        (lambda server, body: server.send(302, {}, location="/elsewhere"), "status 302"),
    ],
)
def test_an_odd_answer_is_none_and_says_why(says: Answer, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LARGEST", 2000 if says is large else client.LARGEST)
    monkeypatch.setattr(client, "SECONDS", 0.3 if says is dribbles else client.SECONDS)
    with odd(says) as address:
        reply = Endpoint(address).ask("/chat/completions", {}, chat_text)
    assert reply.found is None
    assert told in reply.refused
    assert reply.gone


def test_a_server_that_is_busy_for_no_number_of_seconds_is_a_sentence() -> None:
    with (
        odd(deep, models=503, headers_of_models={"retry_after": "nan"}) as address,
        pytest.raises(UserError, match=r"does not answer \(status 503"),
    ):
        Endpoint(address)


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([{"id": "a", "meta": {"digest": "x"}}, {"id": "b", "meta": {"digest": "x"}}], "a"),
        ([{"id": "a", "root": "m"}, {"id": "b", "root": "m"}], "a"),
        ([{"id": "a", "meta": {"digest": "x"}}, {"id": "b", "meta": {"digest": "y"}}], None),
        ([{"id": "a", "created": 1}, {"id": "b", "created": 1}], None),
        ([], None),
    ],
)
def test_two_names_of_one_model_are_one_model(entries: list[dict[str, Any]], found: str | None) -> None:
    """Our own server lists a model by its own name and by the one that it was started by."""
    with odd(deep, listed=entries) as address:
        if found:
            assert Endpoint(address).model == found
        else:
            with pytest.raises(UserError, match="say with --served-model which model"):
                Endpoint(address)


def test_a_pause_is_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 60.0)
    asked = ("nan", "inf", "-5", "7", "Wed, 21 Oct 2026 07:28:00 GMT", None)
    assert [_pause(each, 2) for each in asked] == [4.0, 60.0, 0.0, 7.0, 4.0, 4.0]


def test_a_chat_answer_may_come_in_parts_and_nothing_else_is_text() -> None:
    def message(content: object) -> dict[str, Any]:
        return {"choices": [{"message": {"content": content}}]}

    parts = [{"type": "text", "text": "4"}, {"type": "image_url"}, {"type": "text", "text": "2"}]
    assert chat_text(message(parts)) == "42"
    assert chat_text(message(None)) == ""
    for content in (42, {"text": "42"}, [1]):
        with pytest.raises(TypeError):
            chat_text(message(content))


@pytest.mark.parametrize("address", ["http://127.0.0.1:99999/v1", "http://127.0.0.1:x/v1", "http://[::1/v1"])
def test_what_is_no_address_is_a_sentence(address: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no address of a server"):
        Endpoint(address)
