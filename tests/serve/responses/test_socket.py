"""`/v1/responses` over a WebSocket, with the official client and without."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import openai
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.operations.request_log import RequestLog
from ayllu.serve.responses import socket as socket_routes
from support.serving.responses import check_event, check_events
from support.serving.server import Watched, serving

FINAL = ("response.completed", "response.incomplete", "response.failed", "error")


def talk(url: str, *messages: Any, lanes: int = 1, **options: Any) -> list[dict[str, Any]]:
    """Send all messages, then read until as many responses or errors have ended."""

    async def scenario() -> list[dict[str, Any]]:
        got, ended = [], 0
        async with connect(url.replace("http", "ws") + "/v1/responses", **options) as socket:
            for message in messages:
                await socket.send(message if isinstance(message, str) else json.dumps(message))
            while ended < len(messages):
                got.append(json.loads(await socket.recv()))
                ended += got[-1]["type"] in FINAL
        return got

    return run(scenario())


def run(work: Coroutine[Any, Any, Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(bounded())


def create(**body: Any) -> dict[str, Any]:
    return {"type": "response.create", "model": "tiny", "input": "Hello", "max_output_tokens": 6, "seed": 1, **body}


def test_the_official_client_has_a_conversation_over_one_connection(url: str) -> None:
    async def scenario() -> list[Any]:
        finals: list[Any] = []
        async with (
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x") as client,
            client.responses.connect() as connection,
        ):
            for text in ("Hello", "And you?"):
                previous = {"previous_response_id": finals[-1].id} if finals else {}
                await connection.response.create(model="tiny", input=text, max_output_tokens=6, store=False, **previous)
                while not finals or finals[-1].previous_response_id != previous.get("previous_response_id"):
                    data = await connection.recv_bytes()
                    check_event(json.loads(data), socket=True)
                    event = connection.parse_event(data)
                    if event.type in FINAL:
                        finals.append(event.response)
        return finals

    first, second = run(scenario())
    assert second.previous_response_id == first.id
    assert second.usage.input_tokens > first.usage.input_tokens


def test_the_events_are_those_of_a_stream(url: str, client: openai.OpenAI) -> None:
    final = check_events(talk(url, create()))
    assert json.loads(client.responses.retrieve(final["id"]).to_json()) == final


def test_a_prompt_is_prepared_without_an_answer(url: str) -> None:
    events = talk(url, create(generate=False))
    assert check_events(events)["output"] == []
    assert events[-1]["type"] == "response.completed"


def test_lanes_do_not_wait_for_each_other(folder: Path, engine: TorchEngine) -> None:
    held = Watched(engine, hold_after=8)

    async def scenario() -> str:
        async with connect(address.replace("http", "ws") + "/v1/responses") as socket:
            await socket.send(json.dumps(create(stream_id="a", max_output_tokens=50)))
            await socket.send(json.dumps(create(stream_id="b", max_output_tokens=1)))
            while (event := json.loads(await socket.recv()))["type"] not in FINAL:
                check_event(event, socket=True)
        return str(event["stream_id"])

    with serving(folder, held) as address:
        assert run(scenario()) == "b"
    assert held.running == 0


@pytest.mark.parametrize(
    ("message", "status", "words"),
    [
        ("{", 400, "not JSON"),
        ("[]", 400, "JSON object"),
        ({"type": "response.steer"}, 400, "not understood"),
        (create(temperature=9), 400, "temperature"),
        (create(background=True), 400, "background"),
        (create(model="other"), 404, "not served"),
        (create(stream_id=5), 400, "stream_id"),
        (create(generate="no"), 400, "generate"),
    ],
)
def test_a_bad_message_is_refused_and_the_next_is_answered(url: str, message: Any, status: int, words: str) -> None:
    error, *rest = talk(url, message, create())
    check = json.loads(json.dumps(error))
    assert (check["type"], check["status"]) == ("error", status)
    assert words in check["error"]["message"]
    check_events(rest)


def test_only_so_many_connections_are_open(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_routes, "MOST_SOCKETS", 2)
    place = url.replace("http", "ws") + "/v1/responses"

    async def work() -> tuple[int | None, list[str]]:
        async with connect(place), connect(place) as second:
            async with connect(place) as third:
                await third.wait_closed()
            await second.close()
            said = []
            while not said:  # the server hears of it a moment later
                async with connect(place) as another:
                    with contextlib.suppress(ConnectionClosed):
                        await another.send("no JSON")
                        said.append(json.loads(await another.recv())["type"])
            return third.close_code, said

    assert run(work()) == (1013, ["error"])


def test_each_answer_of_a_connection_is_logged_when_it_ends(
    folder: Path, engine: TorchEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    """A connection may live for days: nothing is kept of its answers until then."""
    with serving(folder, engine, log=RequestLog("json")) as address:
        talk(address, create(), create())
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert sum("finish_reason" in line for line in lines) == 2
    assert not any("answers" in line for line in lines)


def test_foreign_pages_and_large_messages_are_turned_away(url: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        talk(url, create(), origin="http://elsewhere.example")
    assert caught.value.response.status_code == 403
    with pytest.raises(ConnectionClosed) as closed:
        talk(url, create(input="x" * 2_000_000))
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009

    async def bytes_only() -> int:
        async with connect(url.replace("http", "ws") + "/v1/responses") as socket:
            await socket.send(b"{}")
            await socket.wait_closed()
            return socket.close_code or 0

    assert run(bytes_only()) == 1003
