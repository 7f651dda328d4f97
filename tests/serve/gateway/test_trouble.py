"""The gateway under clients that hang up, wait, or send half of what they said, and above an engine that fails."""

from __future__ import annotations

import itertools
import json
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

from ayllu.serve import served
from ayllu.serve.engines.engine import GenerationRequest, TextChunk
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.header_limit import HeaderLimitProtocol
from ayllu.serve.limits import Limits
from support.serving.server import Watched, serving

HELLO: Any = [{"role": "user", "content": "Hello"}]


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
        assert busy.status_code == 429
        assert 1 <= int(busy.headers["retry-after"]) <= 120
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
    entered, go_on, fit = threading.Event(), threading.Event(), served.fit_to_context

    def slow(*args: Any, **options: Any) -> Any:
        entered.set()
        assert go_on.wait(60)
        return fit(*args, **options)

    monkeypatch.setattr(served, "fit_to_context", slow)
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
