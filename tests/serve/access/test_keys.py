"""Keys as an administrator and a client meet them: made by the command, asked for by a real server."""

from __future__ import annotations

import json
import stat
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ayllu.cli.main import main
from ayllu.lab.error import UserError
from ayllu.serve.access.access import Access
from ayllu.serve.access.keys import KeyStore
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.server import serve_model
from ayllu.serve.state.choose import open_store
from support.serving.server import Watched, serving

HELLO: Any = [{"role": "user", "content": "Hello"}]


def ayllu(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> Any:
    with pytest.raises(SystemExit) as end:
        main(["keys", *arguments, "--home", str(home), "--json"])
    assert not end.value.code
    return json.loads(capsys.readouterr().out)


def client(address: str, key: str, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, **{"max_retries": 0, **options})


def say_hello(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(model="tiny", messages=HELLO, **{"max_tokens": 4, **options})


def test_a_key_is_shown_once_and_kept_where_only_its_owner_reads_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = ayllu(capsys, tmp_path, "add", "Ana", "--scope", "generate", "--expires", "30d", "--tokens-per-day", "9")
    assert made["scopes"] == ["generate"]
    assert made["expires"] == pytest.approx(time.time() + 30 * 86_400, abs=60)
    path = tmp_path / "access" / "keys.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made["key"] not in path.read_text()
    (listed,) = ayllu(capsys, tmp_path, "list")["keys"]
    assert (listed["name"], listed["state"], listed["tokens_per_day"]) == ("Ana", "valid", 9)
    assert "digest" not in listed
    assert "key" not in listed
    assert ayllu(capsys, tmp_path, "revoke", "Ana")["state"] == "revoked"
    assert ayllu(capsys, tmp_path, "list")["keys"][0]["state"] == "revoked"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "a/b"], "cannot name a key"),
        (["add", "a", "--scope", "everything"], "there is no scope"),
        (["add", "a", "--expires", "soon"], "is no time"),
        (["add", "a", "--expires", "2001-01-01"], "is past"),
        (["add", "a", "--tokens-per-minute", "0"], "at least 1"),
        (["add", "Ana"], "already"),
        (["revoke", "Bert"], "no key 'Bert'"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], said: str
) -> None:
    KeyStore(tmp_path).add("Ana")
    with pytest.raises(SystemExit) as end:
        main(["keys", *arguments, "--home", str(tmp_path)])
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_many_who_make_keys_at_once_lose_none(tmp_path: Path) -> None:
    def make(start: int) -> None:
        for number in range(start, start + 5):
            KeyStore(tmp_path).add(f"key {number}")

    threads = [threading.Thread(target=make, args=(start,)) for start in (0, 5, 10, 15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key.name for key in KeyStore(tmp_path).all()) == sorted(f"key {number}" for number in range(20))


def test_a_damaged_file_opens_nothing(folder: Path, engine: TorchEngine, tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    text, _ = store.add("Ana")
    store.path.write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        KeyStore(tmp_path).all()
    with serving(folder, engine, access=Access(tmp_path, required=False)) as address:
        with pytest.raises(openai.InternalServerError) as refused:
            say_hello(client(address, text))
        assert refused.value.status_code == 503


def test_a_server_with_keys_answers_those_who_have_one(folder: Path, engine: TorchEngine, tmp_path: Path) -> None:
    text, _ = KeyStore(tmp_path).add("Ana")
    with serving(folder, engine, access=Access(tmp_path, required=False)) as address:
        assert say_hello(client(address, text)).usage.completion_tokens in range(1, 5)
        for other in ("none", text[:-1], text.upper()):
            with pytest.raises(openai.AuthenticationError) as refused:
                say_hello(client(address, other))
            assert refused.value.code == "invalid_api_key"
        body = {"messages": HELLO, "max_tokens": 2}
        url = f"{address}/v1/chat/completions"
        assert httpx2.post(url, json=body, headers={"x-api-key": text}).status_code == 200
        bare = httpx2.post(url, json=body)
        assert bare.status_code == 401
        assert bare.headers["www-authenticate"].startswith("Bearer")
        assert "Content-Security-Policy" in bare.headers
        assert httpx2.get(f"{address}/v1/models").status_code == 401
        # The page has to be there to ask for a key, and a watchdog has none.
        assert [httpx2.get(f"{address}{path}").status_code for path in ("/", "/static/app.js", "/health")] == [200] * 3
        # A body is not read for one who may not ask.
        assert httpx2.post(url, content=b"x" * (2 << 20)).status_code == 401


def test_without_a_key_in_the_home_none_is_asked_for_until_there_is_one(
    folder: Path, engine: TorchEngine, tmp_path: Path
) -> None:
    store = KeyStore(tmp_path)
    with serving(folder, engine, access=Access(tmp_path, required=False)) as address:
        say_hello(client(address, "none"))
        store.add("Ana")
        with pytest.raises(openai.AuthenticationError):
            say_hello(client(address, "none"))
        store.revoke("Ana")
        with pytest.raises(openai.AuthenticationError):  # to take the last key away does not open the door
            say_hello(client(address, "none"))


def test_scopes_and_expiry_hold(folder: Path, engine: TorchEngine, tmp_path: Path) -> None:
    now = [time.time()]
    store = KeyStore(tmp_path)
    reader, _ = store.add("reader", scopes=["models"])
    brief, _ = store.add("brief", expires=int(now[0]) + 60)
    with serving(folder, engine, access=Access(tmp_path, required=True, clock=lambda: now[0])) as address:
        assert client(address, reader).models.list().data[0].id == "tiny"
        with pytest.raises(openai.PermissionDeniedError, match="not for generate"):
            say_hello(client(address, reader))
        say_hello(client(address, brief))
        now[0] += 61
        with pytest.raises(openai.AuthenticationError, match="expired"):
            say_hello(client(address, brief))


def test_a_revoked_key_stops_at_once_and_so_do_its_answers(folder: Path, engine: TorchEngine, tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    text, _ = store.add("Ana")
    other, _ = store.add("Bert")
    watched = Watched(engine, hold_after=3)
    access = Access(tmp_path, required=True)
    with serving(folder, watched, access=access, every_second=access.look) as address:
        stream = iter(say_hello(client(address, text), max_tokens=100, stream=True))
        next(stream)
        store.revoke("Ana")
        with pytest.raises(openai.AuthenticationError, match="revoked"):
            say_hello(client(address, text))
        with pytest.raises(openai.APIConnectionError):
            list(stream)
        watched.hold_after = None
        say_hello(client(address, other))


def test_rates_are_told_and_kept_and_the_official_client_waits_for_them(
    folder: Path, engine: TorchEngine, tmp_path: Path
) -> None:
    now = [1_000_000.0]
    store = KeyStore(tmp_path)
    text, _ = store.add("Ana", requests_per_minute=2, tokens_per_minute=1000)
    with serving(folder, engine, access=Access(tmp_path, required=True, clock=lambda: now[0])) as address:
        raw = client(address, text).chat.completions.with_raw_response
        first = raw.create(model="tiny", messages=HELLO, max_tokens=4)
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert first.headers["x-ratelimit-reset-requests"] == "30s"
        used = first.parse().usage.total_tokens
        second = raw.create(model="tiny", messages=HELLO, max_tokens=4)
        assert second.headers["x-ratelimit-remaining-tokens"] == str(1000 - used)
        with pytest.raises(openai.RateLimitError) as refused:
            say_hello(client(address, text))
        assert refused.value.response.headers["retry-after"] == "30"
        assert refused.value.code == "rate_limit_exceeded"
        now[0] += 30
        say_hello(client(address, text))


def test_what_an_answer_took_too_much_the_next_request_waits_for(
    folder: Path, engine: TorchEngine, tmp_path: Path
) -> None:
    now = [1_000_000.0]
    text, _ = KeyStore(tmp_path).add("Ana", tokens_per_minute=10)
    with serving(folder, engine, access=Access(tmp_path, required=True, clock=lambda: now[0])) as address:
        used = say_hello(client(address, text), max_tokens=100, temperature=2).usage.total_tokens
        with pytest.raises(openai.RateLimitError) as refused:
            say_hello(client(address, text))
        wait = (used - 10 + 1) * 6
        # Above two minutes the client would give up at once.
        assert refused.value.response.headers["retry-after"] == str(min(120, wait))
        now[0] += wait
        say_hello(client(address, text))


def test_a_quota_of_the_day_outlives_the_server_and_ends_with_the_day(
    folder: Path, engine: TorchEngine, tmp_path: Path
) -> None:
    now = [86_400.0 * 20_000]
    text, key = KeyStore(tmp_path).add("Ana", tokens_per_day=5)

    def one() -> Any:
        access = Access(tmp_path, required=True, clock=lambda: now[0])
        with serving(folder, engine, access=access) as address:
            try:
                return say_hello(client(address, text, max_retries=2))
            finally:
                access.close()

    used = one().usage.total_tokens
    with pytest.raises(openai.RateLimitError) as refused:
        one()
    # The client would try twice more if it were not told that this is of no use.
    assert refused.value.code == "insufficient_quota"
    assert refused.value.response.headers["x-should-retry"] == "false"
    listed = Access(tmp_path, required=True)._usage.days(key.id)
    assert listed == {"2024-10-04": {"requests": 1, "tokens": used}}
    now[0] += 86_400
    one()


def test_what_is_kept_for_a_key_only_keys_of_its_name_read(folder: Path, engine: TorchEngine, tmp_path: Path) -> None:
    keys = KeyStore(tmp_path)
    ana, _ = keys.add("Ana")
    bert, _ = keys.add("Bert")
    store = open_store(None, home=tmp_path, keep_days=0)
    access = Access(tmp_path, required=True)
    with serving(folder, engine, access=access, home=tmp_path, store=store) as address:
        made = client(address, ana).responses.create(model="tiny", input="Hello", max_output_tokens=16)
        file = client(address, ana).files.create(file=("a.txt", b"llama"), purpose="user_data")
        with pytest.raises(openai.NotFoundError):
            client(address, bert).responses.retrieve(made.id)
        assert list(client(address, bert).files.list()) == []
        keys.revoke("Ana")
        again, _ = keys.add("Ana")
        assert client(address, again).responses.retrieve(made.id).id == made.id
        assert [one.id for one in client(address, again).files.list()] == [file.id]


def test_a_websocket_needs_a_key_too(folder: Path, engine: TorchEngine, tmp_path: Path) -> None:
    text, _ = KeyStore(tmp_path).add("Ana")
    with serving(folder, engine, access=Access(tmp_path, required=True)) as address:
        place = f"{address.replace('http', 'ws')}/v1/responses"
        with pytest.raises(InvalidStatus) as refused:
            connect(place)
        assert refused.value.response.status_code == 401
        with connect(place, additional_headers={"Authorization": f"Bearer {text}"}) as socket:
            socket.send("{}")
            assert "error" in str(socket.recv(timeout=30))


def test_an_address_that_others_reach_needs_a_key(tmp_path: Path) -> None:
    def told(host: str) -> str:
        with pytest.raises(UserError) as refused:
            serve_model(tmp_path / "nothing", host=host, port=0, home=tmp_path)
        return str(refused.value)

    assert "ayllu keys add" in told("0.0.0.0")
    for local in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost"):
        assert "ayllu keys add" not in told(local), local
    KeyStore(tmp_path).add("Ana", expires=1)
    assert "ayllu keys add" in told("0.0.0.0")
    KeyStore(tmp_path).add("Bert")
    assert "ayllu keys add" not in told("0.0.0.0")
