"""A phone is paired: HTTPS with the server's own certificate, and a key that ends with the server."""

from __future__ import annotations

import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
from websockets.sync.client import connect

from ayllu.device.pairing import pairing_key, qr_code
from ayllu.serve.access.keys import KeyStore
from support.parts import need_module


def test_a_phone_is_paired_over_https_by_what_the_code_says(parts: object, tmp_path: Path) -> None:
    need_module("segno", "the QR code is made by segno")
    command = [
        sys.executable,
        "-m",
        "ayllu.cli",
        "glasses",
        "--host",
        "0.0.0.0",
        "--port",
        "0",
        "--home",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as server:
        assert server.stderr is not None
        killer = threading.Timer(60, server.kill)
        killer.start()
        link = ""
        for line in server.stderr:
            if found := re.search(r"https://\S+/glasses#key=\S+", line):
                link = found.group()
                break
        try:
            address, key = link.split("/glasses#key=")
            trust = ssl.create_default_context(cafile=str(tmp_path / "tls" / "certificate.pem"))
            page = httpx2.get(f"{address}/glasses", verify=trust)
            assert page.status_code == 200 and "camera=(self)" in page.headers["permissions-policy"]
            names = ["realtime", f"openai-insecure-api-key.{key}"]
            place = address.replace("https", "wss") + "/v1/realtime"
            with connect(place, subprotocols=names, ssl=trust) as socket:  # type: ignore[arg-type]
                assert socket.subprotocol == "realtime" and "session.created" in str(socket.recv(10))
            assert httpx2.get(f"{address}/v1/models", verify=trust).status_code == 401
        finally:
            server.send_signal(signal.SIGINT)
            rest = server.stderr.read()
            server.wait(20)
            killer.cancel()
    assert server.returncode == 0, rest
    assert KeyStore(tmp_path).valid(time.time()) is False


def test_the_code_holds_the_link(tmp_path: Path) -> None:
    need_module("segno", "the QR code is made by segno")
    with pairing_key(tmp_path) as key:
        assert len(qr_code(f"https://192.0.2.7:8090/glasses#key={key}").splitlines()) > 15
