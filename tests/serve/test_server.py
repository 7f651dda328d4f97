"""`serve` as a process: its port, its signals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from ayllu.lab.error import UserError
from ayllu.serve.server import checked_host, is_loopback, listen, serve_model
from support.parts import need_module

SLOW = """
import sys, time
from ayllu.serve.engines import torch_engine
from ayllu.serve.engines.process.child import main
plain = torch_engine.generate
def slow(*args, **options):
    for token in plain(*args, **options | {"stop": frozenset()}):
        time.sleep(float(sys.argv[1]))
        yield token
torch_engine.generate = slow
main(int(sys.argv[2]))
"""
PROGRAM = """
import sys
from pathlib import Path
from ayllu.serve.engines.process import supervised
from ayllu.serve.server import serve_model
supervised.PROGRAM = ("-c", sys.argv[4], sys.argv[3])
serve_model(Path(sys.argv[1]), port=0, drain_seconds=float(sys.argv[2]), engine="torch")
"""


@contextmanager
def process(folder: Path, drain: float, pause: float = 0.02) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", PROGRAM, str(folder), str(drain), str(pause), SLOW]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    ) as server:
        assert server.stderr is not None
        try:
            line = server.stderr.readline()
            found = re.search(r"http://\S+", line)
            assert found, line
            yield server, found[0]
        finally:
            server.kill()


def stream(address: str, tokens: int, started: threading.Event) -> list[str]:
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": tokens, "stream": True, "temperature": 2}
    lines: list[str] = []
    with httpx2.stream("POST", f"{address}/v1/chat/completions", json=body, timeout=30) as reply:
        for line in reply.iter_lines():
            started.set()
            lines += [line] if line else []
    return lines


def test_a_signal_lets_what_is_under_way_finish(folder: Path) -> None:
    with process(folder, drain=20) as (server, address):
        started, lines = threading.Event(), []
        reader = threading.Thread(target=lambda: lines.extend(stream(address, 40, started)))
        reader.start()
        assert started.wait(60)
        server.send_signal(signal.SIGTERM)
        reader.join(60)
        assert lines[-1] == "data: [DONE]"
        assert json.loads(lines[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"
        assert server.wait(60) == 0


def test_the_wait_for_it_has_an_end(folder: Path) -> None:
    with process(folder, drain=0.2, pause=0.2) as (server, address):
        started, broken = threading.Event(), []

        def read() -> None:
            try:
                stream(address, 230, started)
            except httpx2.HTTPError as error:
                broken.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        assert started.wait(60)
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
        reader.join(60)
        assert broken


@pytest.mark.parametrize("name", ["http://x", "a/b", "x:80", "", "*.example"])
def test_a_host_that_is_no_name_is_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="allow-host"):
        serve_model(tmp_path, port=0, hosts=[name])


NAMED = """
import sys, torch
from pathlib import Path
from ayllu.serve import server
torch.set_num_threads(1)
listen = server.listen
server.listen = lambda host, port: listen("127.0.0.1", port)  # no name of this machine is known to the test
server.serve_model(Path(sys.argv[1]), host="workstation", port=0, aliases=["little"])
"""


def test_a_model_without_a_gguf_file_is_served_by_the_fast_engine_at_the_address_that_is_printed(folder: Path) -> None:
    need_module("xllamacpp", "xllamacpp has no wheel for this platform")
    command = [sys.executable, "-c", NAMED, str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            lines = [server.stderr.readline() for _ in range(3)]
            assert "its heads are 8 wide" in lines[0] and "(another engine serves)" in lines[0]
            assert "kept of earlier prompts" in lines[1]
            found = re.search(r"http://workstation:(\d+)", lines[2])
            assert found, lines
            body = {"model": "little", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
            host = {"Host": f"workstation:{found[1]}"}
            address = f"http://127.0.0.1:{found[1]}/v1/chat/completions"
            assert httpx2.post(address, json=body, headers=host, timeout=60).status_code == 200
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
    assert not any(file.suffix == ".gguf" for file in folder.iterdir())


def test_a_port_in_use_is_said_before_the_model_is_looked_at(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(UserError) as caught:
        serve_model(tmp_path / "missing", port=other.getsockname()[1])
    assert re.fullmatch(r"port \d+ on 127\.0\.0\.1 is in use; .* --port", str(caught.value))


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("192.0.2.1", 0, "not an address of this machine"),
        ("no such host", 0, "unknown"),
        ("127.0.0.1", 70_000, "no port 70000"),
        ("127.0.0.1", -1, "no port -1"),
    ],
)
def test_a_place_that_cannot_be_had_is_one_sentence(host: str, port: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        listen(host, port)


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("0.0.0.0", False), ("::ffff:0.0.0.0", False)],
)
def test_loopback_is_known_in_every_spelling(host: str, alone: bool) -> None:
    if ":" in host and not socket.has_ipv6:
        return
    with listen(host, 0) as listener:
        assert is_loopback(listener) is alone


def test_a_model_that_cannot_be_served_frees_the_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    with pytest.raises(UserError, match="not a folder"):
        serve_model(tmp_path / "missing", port=port)
    with listen("127.0.0.1", port):
        pass


def test_a_name_with_letters_beyond_ascii_is_known_as_clients_send_it() -> None:
    assert checked_host("bücher.example") == "xn--bcher-kva.example"
    assert checked_host("my_host.lan.") == "my_host.lan"


def test_every_operation_of_the_schema_has_a_name_of_its_own(url: str) -> None:
    paths = httpx2.get(f"{url}/openapi.json", timeout=60).json()["paths"]
    names = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(names) == len(set(names)) > 20
    assert httpx2.head(f"{url}/v1/models").status_code == 200
