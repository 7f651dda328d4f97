"""Where the server stands: HTTPS, a base path, proxies, IPv6, and clients that hold it up."""

from __future__ import annotations

import socket
import ssl
import stat
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest
from cryptography import x509

from ayllu.lab.error import UserError
from ayllu.serve.about import describe
from ayllu.serve.access.access import Access
from ayllu.serve.access.keys import KeyStore
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.header_limit import HeaderLimitProtocol
from ayllu.serve.network.certificate import check_pair, fingerprint, self_made
from ayllu.serve.network.listen import checked_base_path, checked_proxy
from ayllu.serve.operations.request_log import RequestLog
from ayllu.serve.queue import EngineQueue
from ayllu.serve.served import Models, Served
from support.serving.server import Watched, serving, serving_models

HELLO: Any = [{"role": "user", "content": "Hello"}]


def models(folder: Path, engine: TorchEngine) -> Models:
    about = describe(folder, context=engine.context, parameters=engine.parameters)
    return Models(Served(EngineQueue(Watched(engine)), about))


def ask(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(
        model="tiny", messages=HELLO, **{"max_tokens": 3, "temperature": 0, **options}
    )


def test_a_self_made_certificate_is_trusted_by_who_was_given_it(
    folder: Path, engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = self_made(tmp_path, ("llama.example",))
    assert stat.S_IMODE(pair[1].stat().st_mode) == 0o600
    assert self_made(tmp_path, ("llama.example",)) == pair
    before = fingerprint(pair[0])
    with serving_models(models(folder, engine), certificate=pair) as address:
        trusting = ssl.create_default_context(cafile=str(pair[0]))
        with httpx2.Client(verify=trusting) as http:
            client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", http_client=http)
            assert ask(client).usage.completion_tokens == 3
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{address}/health")
        port = urlsplit(address).port
        shown = ssl.get_server_certificate(("127.0.0.1", port or 0))
        assert x509.load_pem_x509_certificate(shown.encode()).serial_number
    assert fingerprint(pair[0]) == before
    self_made(tmp_path, ("other.example",))  # another name needs another certificate
    assert fingerprint(pair[0]) != before
    told = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", str(pair[0])], capture_output=True, text=True
    )
    if told.returncode == 0:
        assert fingerprint(pair[0]) in told.stdout


def test_files_that_are_no_pair_are_one_sentence(tmp_path: Path) -> None:
    one, other = self_made(tmp_path / "a", ()), self_made(tmp_path / "b", ())
    check_pair(*one)
    for pair in ((one[0], other[1]), (one[1], one[0]), (one[0], tmp_path / "none.pem")):
        with pytest.raises(UserError):
            check_pair(*pair)


def test_a_base_path_is_taken_whether_the_proxy_strips_it_or_not(folder: Path, engine: TorchEngine) -> None:
    with serving(folder, engine, base_path="/house/ayllu") as address:
        for base in (f"{address}/house/ayllu", address):
            client = openai.OpenAI(base_url=f"{base}/v1", api_key="none")
            assert ask(client).usage.completion_tokens == 3
            page = httpx2.get(f"{base}/", follow_redirects=True)
            # All addresses of the page are relative to its own.
            assert 'src="static/app.js"' in page.text
            assert httpx2.get(f"{base}/static/app.js").status_code == 200
        moved = httpx2.get(f"{address}/house/ayllu")
        assert (moved.status_code, moved.headers["location"]) == (308, "/house/ayllu/")
        assert httpx2.get(f"{address}/house/ayllus/v1/models").status_code == 404


def test_a_base_path_opens_nothing_that_needs_a_key(folder: Path, engine: TorchEngine, tmp_path: Path) -> None:
    KeyStore(tmp_path).add("Ana")
    with serving(folder, engine, base_path="/static", access=Access(tmp_path, required=True)) as address:
        assert httpx2.get(f"{address}/static/v1/models").status_code == 401
        assert httpx2.get(f"{address}/v1/models").status_code == 401
        assert httpx2.get(f"{address}/static/health").status_code == 200


def test_what_a_client_says_of_whom_it_speaks_for_is_believed_of_named_proxies_only(
    folder: Path, engine: TorchEngine
) -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.1.2.3"}

    def may(address: str, origin: str) -> int:
        host = {"Origin": origin, "Host": "127.0.0.1"}
        return httpx2.get(f"{address}/v1/models", headers={**headers, **host}).status_code

    with serving(folder, engine) as address:
        assert may(address, "https://127.0.0.1") == 403  # it came over HTTP, whatever it says
        assert may(address, "http://127.0.0.1") == 200
    with serving(folder, engine, proxies=["127.0.0.0/8"]) as address:
        assert may(address, "https://127.0.0.1") == 200
    with serving(folder, engine, proxies=["10.0.0.1"]) as address:
        assert may(address, "https://127.0.0.1") == 403


@pytest.mark.parametrize("path", ["ayllu", "/a//b", "/a?b", "/%61"])
def test_a_base_path_that_is_none_is_one_sentence(path: str) -> None:
    with pytest.raises(UserError, match="base-path"):
        checked_base_path(path)


def test_proxies_are_addresses() -> None:
    assert checked_proxy("10.0.0.5/8") == "10.0.0.0/8"
    for wrong in ("*", "proxy.example", "10.0.0.300"):
        with pytest.raises(UserError, match="--proxy"):
            checked_proxy(wrong)


def test_ipv6_is_served(folder: Path, engine: TorchEngine) -> None:
    with serving_models(models(folder, engine), host="::1") as address:
        assert address.startswith("http://[::1]:")
        assert ask(openai.OpenAI(base_url=f"{address}/v1", api_key="none")).usage.completion_tokens == 3


def test_300_slow_clients_do_not_stop_a_fast_one(folder: Path, engine: TorchEngine, tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    slow, _ = store.add("slow")
    fast, _ = store.add("fast")
    watched = Watched(engine, seconds=0.002)
    with serving(folder, watched, access=Access(tmp_path, required=True), log=RequestLog()) as address:
        place = urlsplit(address)
        body = b'{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100, "stream": true}'
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {slow}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()

        def connect(number: int) -> socket.socket:
            connection = socket.create_connection((place.hostname or "", place.port or 0), timeout=30)
            # A third sends half a head, a third half a body, a third asks and reads nothing.
            connection.sendall([head[:40], head + body[:20], head + body][number % 3])
            return connection

        with ThreadPoolExecutor(20) as pool:
            held = list(pool.map(connect, range(300)))
        try:
            client = openai.OpenAI(base_url=f"{address}/v1", api_key=fast, max_retries=0, timeout=60)
            for _ in range(3):
                assert ask(client, max_tokens=10).usage.completion_tokens == 10
        finally:
            for connection in held:
                connection.close()


def test_for_a_client_that_reads_nothing_little_is_written(folder: Path, engine: TorchEngine) -> None:
    watched = Watched(engine, parallel=1)
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 400, "stream": True}
    body |= {"logprobs": True, "top_logprobs": 20}  # a kilobyte a token
    with serving(folder, watched) as address:
        place = urlsplit(address)
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(60)
            connection.connect((place.hostname, place.port))
            request = httpx2.Request("POST", f"{address}/v1/chat/completions", json=body)
            head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
            connection.sendall(f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n".encode() + request.read())
            while not watched.computed or watched.running:
                time.sleep(0.01)
            written = watched.computed
            assert written < 300
            whole = b""
            while b"[DONE]" not in whole:
                whole += connection.recv(65536)
            assert watched.computed > written and whole.count(b'"logprobs": {') + whole.count(b'"logprobs":{') >= 100


def test_a_client_that_reads_nothing_is_given_up(
    folder: Path, engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HeaderLimitProtocol, "unread_seconds", 0.2)
    lost = threading.Event()
    closed = HeaderLimitProtocol.connection_lost

    def connection_lost(self: HeaderLimitProtocol, exc: Exception | None) -> None:
        closed(self, exc)
        lost.set()

    monkeypatch.setattr(HeaderLimitProtocol, "connection_lost", connection_lost)
    with serving(folder, engine) as address:
        place = urlsplit(address)
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((place.hostname, place.port))
            request = f"GET /static/markdown-it.js HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode()
            since = time.monotonic()
            # More than all buffers between them hold.
            with pytest.raises(OSError):
                connection.settimeout(20)
                while time.monotonic() - since < 20:
                    connection.sendall(request * 20)
                    if lost.wait(0.01):
                        connection.sendall(request)
                        time.sleep(0.05)
            assert lost.is_set()
