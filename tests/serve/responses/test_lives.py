"""Responses in the background, cancelled, on several servers, over a restart, and of clients that hang up."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.responses import streams
from ayllu.serve.state.choose import open_store
from ayllu.serve.state.database import StateUnavailable
from ayllu.serve.state.keeper import Keeper
from ayllu.serve.state.store import Store
from support.serving.postgres import postgres
from support.serving.responses import check_events, check_response
from support.serving.server import Watched, serving

HELLO: Any = {"model": "tiny", "input": "Hello", "temperature": 0}


@contextmanager
def server(folder: Path, engine: TorchEngine, home: Path) -> Iterator[tuple[openai.OpenAI, Store]]:
    store = open_store(None, home=home)
    assert store is not None
    with serving(folder, engine, store=store) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="x") as client:
        yield client.with_options(max_retries=0), store
    store.close()


@pytest.fixture
def held(engine: TorchEngine) -> Watched:
    """An engine whose answers stop after three tokens until nobody wants them."""
    return Watched(engine, hold_after=3)


def until(true: Callable[[], Any]) -> Any:
    for _ in range(400):
        if found := true():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not become so in 8 seconds")


def sent(reply: httpx2.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in reply.text.split("\n") if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def test_a_response_in_the_background_is_polled_for(client: openai.OpenAI, url: str) -> None:
    made = client.responses.create(**HELLO, max_output_tokens=20, background=True)
    assert made.status == "queued" and made.background and made.output == []
    done = until(lambda: (now := client.responses.retrieve(made.id)).status not in ("queued", "in_progress") and now)
    assert done.status in ("completed", "incomplete") and done.output_text
    check_response(httpx2.get(f"{url}/v1/responses/{made.id}").json())


def test_a_stream_of_the_background_is_taken_up_where_it_was_left(client: openai.OpenAI, url: str) -> None:
    with client.responses.create(**HELLO, max_output_tokens=20, background=True, stream=True) as stream:
        first = next(iter(stream))
    assert first.type == "response.created" and first.response.status == "queued"
    place = f"{url}/v1/responses/{first.response.id}"
    whole = sent(httpx2.get(place, params={"stream": "true"}, timeout=60))
    final = check_events(whole)
    assert [event["type"] for event in whole[:3]] == ["response.created", "response.queued", "response.in_progress"]
    assert sent(httpx2.get(place, params={"stream": "true"})) == whole  # as kept
    assert sent(httpx2.get(place, params={"stream": "true", "starting_after": 4})) == whole[5:]
    assert httpx2.get(place).json() == final
    plain = client.responses.create(**HELLO, max_output_tokens=2)
    with pytest.raises(openai.BadRequestError, match="background=true"):
        client.responses.retrieve(plain.id, stream=True)


def test_what_runs_is_cancelled_and_what_is_done_stays(folder: Path, held: Watched, tmp_path: Path) -> None:
    with server(folder, held, tmp_path) as (client, _):
        made = client.responses.create(**HELLO, background=True)
        until(lambda: client.responses.retrieve(made.id).status == "in_progress")
        stopped = client.responses.cancel(made.id)
        assert stopped.status == "cancelled" and stopped.output[0].status == "incomplete"  # type: ignore[union-attr]
        assert client.responses.cancel(made.id) == client.responses.retrieve(made.id) == stopped
        check_response(httpx2.get(f"{client.base_url}responses/{made.id}").json())
        until(lambda: held.running == 0)
        going = client.responses.create(**HELLO, background=True)
        client.responses.delete(going.id)
        until(lambda: held.running == 0)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(going.id)


def test_a_client_that_hangs_up_stops_the_computing(folder: Path, held: Watched, tmp_path: Path) -> None:
    with server(folder, held, tmp_path) as (client, store):
        with client.responses.create(**HELLO, stream=True) as stream:
            events = iter(stream)
            name = next(events).response.id  # type: ignore[union-attr]
            until(lambda: next(events).type == "response.output_text.delta")
            assert client.responses.retrieve(name).status == "in_progress"
            with pytest.raises(openai.BadRequestError, match="end the connection"):
                client.responses.cancel(name)
        until(lambda: held.running == 0)
        kept = until(lambda: client.responses.retrieve(name).status == "cancelled" and store.response(name))
        assert kept[1][0]["status"] == "incomplete"
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=1).responses.create(**HELLO)
        until(lambda: held.running == 0)


def test_the_next_turn_comes_after_a_restart(folder: Path, engine: TorchEngine, tmp_path: Path) -> None:
    with server(folder, engine, tmp_path) as (client, _):
        talk = client.conversations.create()
        first = client.responses.create(**HELLO, max_output_tokens=4, conversation=talk.id)
    with server(folder, engine, tmp_path) as (client, _):
        assert client.responses.retrieve(first.id) == first
        second = client.responses.create(**HELLO, max_output_tokens=4, previous_response_id=first.id)
        third = client.responses.create(**HELLO, max_output_tokens=4, conversation=talk.id)
        assert second.usage is not None and third.usage is not None
        assert second.usage.input_tokens == third.usage.input_tokens


def test_what_a_server_leaves_in_the_background_the_next_one_computes(
    folder: Path, engine: TorchEngine, held: Watched, tmp_path: Path
) -> None:
    with server(folder, held, tmp_path) as (client, _):
        made = client.responses.create(**HELLO, max_output_tokens=20, background=True, instructions="Be kind.")
        until(lambda: client.responses.retrieve(made.id).status == "in_progress")
    with server(folder, engine, tmp_path) as (client, _):
        done = until(
            lambda: (now := client.responses.retrieve(made.id)).status not in ("queued", "in_progress") and now
        )
        plain = client.responses.create(**HELLO, max_output_tokens=20, instructions="Be kind.")
        assert done.output_text == plain.output_text
        assert done.usage == plain.usage and done.created_at == made.created_at


def test_two_servers_share_one_state(folder: Path, engine: TorchEngine, held: Watched, tmp_path: Path) -> None:
    with server(folder, held, tmp_path) as (one, _), server(folder, engine, tmp_path) as (other, _):
        made = one.responses.create(**HELLO, background=True)
        until(lambda: other.responses.retrieve(made.id).status == "in_progress")
        assert other.responses.cancel(made.id).status == "cancelled"
        until(lambda: held.running == 0)
        until(lambda: one.responses.retrieve(made.id).status == "cancelled")
        first = other.responses.create(**HELLO, max_output_tokens=4)
        assert one.responses.retrieve(first.id) == first
        talk = one.conversations.create()
        busy = one.responses.create(**HELLO, conversation=talk.id, background=True)
        with pytest.raises(openai.ConflictError, match="another response of this conversation") as caught:
            other.responses.create(**HELLO, max_output_tokens=4, conversation=talk.id)
        assert caught.value.code == "conversation_locked"
        one.responses.cancel(busy.id)
        assert other.responses.create(**HELLO, max_output_tokens=4, conversation=talk.id).output_text


def test_a_server_that_keeps_nothing_says_so(folder: Path, engine: TorchEngine) -> None:
    with serving(folder, engine) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        made = client.responses.create(**HELLO, max_output_tokens=4)
        assert made.output_text and json.loads(made.to_json())["store"] is False
        for asked in ({"store": True}, {"background": True}, {"previous_response_id": made.id}, {"conversation": "c"}):
            with pytest.raises(openai.BadRequestError, match="keeps nothing"):
                client.responses.create(**HELLO, **asked)
        with pytest.raises(openai.BadRequestError, match="keeps nothing"):
            client.conversations.create()


def test_what_cannot_be_kept_is_not_answered(
    folder: Path, engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> bool:
        raise StateUnavailable("database or disk is full")

    with server(folder, engine, tmp_path) as (client, store):
        monkeypatch.setattr(store, "finish", full)
        with pytest.raises(openai.InternalServerError, match="state of this server cannot be used") as caught:
            client.responses.create(**HELLO, max_output_tokens=4)
        assert caught.value.status_code == 503
        events = list(client.responses.create(**HELLO, max_output_tokens=4, stream=True))
        assert events[-1].type == "response.failed"
        monkeypatch.setattr(store, "begin", full)
        with pytest.raises(openai.InternalServerError):
            client.responses.create(**HELLO, max_output_tokens=4, background=True)
        assert client.responses.create(**HELLO, max_output_tokens=4, store=False).output_text


def test_a_quiet_stream_is_kept_alive_by_comments(
    folder: Path, held: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_SECONDS", 0.05)
    with server(folder, held, tmp_path) as (client, _):
        url = f"{client.base_url}responses"
        with httpx2.stream("POST", url, json={**HELLO, "stream": True}, timeout=60) as reply:
            lines = reply.iter_lines()
            until(lambda: next(lines) == ": keep-alive")
            until(lambda: next(lines) == ": keep-alive")


def test_an_answer_whose_end_is_being_kept_is_told_as_it_ended(
    folder: Path, engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server looks meanwhile for answers that somebody else has ended, and finds this one ended."""
    monkeypatch.setitem(Keeper.__init__.__kwdefaults__, "beat_seconds", 0.02)
    with server(folder, engine, tmp_path) as (client, store):
        finish = store.finish

        def slowly(*given: Any, **options: Any) -> bool:
            kept = finish(*given, **options)
            time.sleep(0.5)
            return kept

        monkeypatch.setattr(store, "finish", slowly)
        made = client.responses.create(**HELLO, max_output_tokens=4)
        assert made.status in ("completed", "incomplete") and made.usage
        assert client.responses.retrieve(made.id) == made


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_gateway_that_is_killed_a_hundred_times_has_lost_nothing_it_told_of(
    folder: Path, tmp_path: Path, database: str
) -> None:
    """Responses, conversations, uploads and what was deleted; the files of uploads lie in the home with either."""
    with postgres() if database == "postgres" else nullcontext(str(tmp_path / "state")) as state:
        words = [str(folder), state, str(tmp_path), "100"]
        program = [sys.executable, "-m", "support.programs.killed_gateway", *words]
        done = subprocess.run(program, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=1700)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kills"] == 100 and min(told[kind] for kind in ("whole", "begun", "conversations", "files")) >= 80
    assert told["deleted"] >= 30
    assert told["lost"] == told["other"] == told["back"] == told["stray"] == []
