"""Servers that speak OpenAI's protocol in their own ways: what they mean is taken, what is none of it is a sentence."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ayllu.assistant.models.driver import Asked, ModelError, Turned
from ayllu.assistant.models.remote import RemoteDriver


@contextmanager
def server(body: bytes) -> Iterator[str]:
    """A server that answers everything with `body`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}"
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


def turned(body: bytes) -> Turned:
    async def turn(url: str) -> Turned:
        driver = RemoteDriver(url, model="m")
        try:
            async with aclosing(driver.turn(Asked(items=[], instructions="", tools=[], most=9))) as parts:
                found = [part async for part in parts]
        finally:
            await driver.close()
        assert isinstance(found[-1], Turned)
        return found[-1]

    with server(body) as url:
        return asyncio.run(turn(url))


def chunks(*values: Any) -> bytes:
    return b"".join(f"data: {json.dumps(value)}\n\n".encode() for value in values) + b"data: [DONE]\n\n"


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (chunks(delta(content="42"), {"choices": [], "usage": {"prompt_tokens": None}}), "42"),
        (chunks(delta(content="42"), {"choices": None, "usage": None}), "42"),
        (chunks(delta(content=[{"type": "thinking", "thinking": []}, {"type": "text", "text": "42"}])), "42"),
        (chunks(delta(content=None, reasoning_content="hm"), delta(content="42")), "42"),
        (chunks(delta(content="42"), {"choices": [{"index": 1, "delta": {"content": "43"}}]}), "42"),
        (chunks(5, [], delta(content="42"), {"choices": [{"finish_reason": "stop"}]}), "42"),
    ],
)
def test_what_a_server_means_is_taken(body: bytes, text: str) -> None:
    found = turned(body)
    assert [item["content"][0]["text"] for item in found.items] == [text] and (found.read, found.written) == (0, 0)


def test_calls_come_in_any_pieces() -> None:
    call = {"index": None, "id": 7, "function": {"name": "add", "arguments": None}}
    found = turned(chunks(delta(tool_calls=[call]), delta(tool_calls=[{"function": {"arguments": '{"a": 1}'}}])))
    assert [(item["call_id"], item["name"], item["arguments"]) for item in found.items] == [("7", "add", '{"a": 1}')]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (json.dumps({"choices": [{"message": {"content": "42"}}]}).encode(), "it has to stream"),
        (b"", "it has to stream"),
        (b"data: [DONE]\n\n", "it has to stream"),
        (chunks({"choices": [None]}), "not OpenAI's"),
        (chunks({"choices": "x"}), "not OpenAI's"),
        (chunks(delta(content=5)), "not OpenAI's"),
        (chunks(delta(tool_calls=["x"])), "not OpenAI's"),
        (b"data: {broken\n\n", "no JSON"),
        (chunks({"error": {"message": "overloaded"}}), "overloaded"),
    ],
)
def test_what_is_no_answer_is_a_sentence(body: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        turned(body)
