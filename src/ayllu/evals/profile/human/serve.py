"""The page for a person: served on the loopback address only, at an address that nobody can guess."""

from __future__ import annotations

import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from ayllu.evals.profile.human.session import Session
from ayllu.lab.error import UserError

LARGEST = 64 << 10
"""Bytes of a body."""


class HumanServer:
    """The page of one session. `address` is where it is; `wait` returns once the person has stopped or is through."""

    def __init__(self, session: Session, *, port: int = 0) -> None:
        self._session, self._lock, self._over = session, threading.Lock(), threading.Event()
        self._secret = secrets.token_urlsafe(24)
        handler = type("Handler", (_Handler,), {"owner": self})
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        except OSError as error:
            raise UserError(f"port {port} cannot be used ({error.strerror}): choose another with --port") from error
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.address = f"http://{self.host}/{self._secret}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the person has stopped or is through; whether they have."""
        return self._over.wait(timeout)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def told(self, path: str, body: Any) -> dict[str, Any] | None:
        """What a request is answered with; None where there is nothing of that name. ValueError for a wrong body."""
        session = self._session
        with self._lock:
            if body is None and path in ("start", "next"):
                return session.state(show=path == "next")
            if path == "answer" and isinstance(body, dict):
                session.answer(body)
            elif path == "stop" and body == {}:
                session.stopped = True
            else:
                return None
            state = session.state(show=True)
            if state["item"] is None:
                self._over.set()
            return state

    def within(self, path: str) -> str | None:
        """The part of a path behind the secret; None where the secret is not there."""
        first, _, rest = path.lstrip("/").partition("/")
        return rest if secrets.compare_digest(first.encode(), self._secret.encode()) else None


class _Handler(BaseHTTPRequestHandler):
    owner: HumanServer
    server_version = "ayllu"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        path = self._path()
        if path == "":
            nonce = secrets.token_urlsafe(16)
            page = files("ayllu.evals.profile.human").joinpath("page.html").read_text(encoding="utf-8")
            policy = f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'"
            policy += "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            self._send(200, page.replace("NONCE", nonce).encode(), "text/html; charset=utf-8", policy)
        elif path is not None and (state := self.owner.told(path, None)) is not None:
            self._json(200, state)
        else:
            self._json(404, {"error": "there is nothing here"})

    def do_POST(self) -> None:
        path = self._path()
        length = self.headers.get("content-length", "")
        if path is None or self.headers.get("content-type") != "application/json":
            self._json(404, {"error": "there is nothing here"})
        elif not length.isdigit() or int(length) > LARGEST:
            self._json(413, {"error": "the body is too large"})
        else:
            try:
                state = self.owner.told(path, json.loads(self.rfile.read(int(length))))
                self._json(404 if state is None else 200, state or {"error": "there is nothing here"})
            except ValueError as error:
                self._json(400, {"error": str(error)})

    def _path(self) -> str | None:
        """What is asked for; None from another site: only the address itself may be the host, and the origin."""
        origin = self.headers.get("origin")
        if self.headers.get("host") != self.owner.host or origin not in (None, f"http://{self.owner.host}"):
            return None
        return self.owner.within(self.path.partition("?")[0])

    def _json(self, status: int, value: Any) -> None:
        self._send(status, json.dumps(value, ensure_ascii=False).encode(), "application/json", "default-src 'none'")

    def _send(self, status: int, data: bytes, kind: str, policy: str) -> None:
        self.send_response(status)
        headers = {
            "content-type": kind,
            "content-length": str(len(data)),
            "content-security-policy": policy,
            "cache-control": "no-store",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests hold the secret."""
