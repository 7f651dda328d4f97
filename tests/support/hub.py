"""A server on this machine that speaks as much of the Hugging Face hub's protocol as reading one repository needs."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

COMMIT = "1234567890abcdef1234567890abcdef12345678"
NOWHERE = "http://127.0.0.1:9"
"""An address where nobody answers."""


@dataclass(frozen=True, kw_only=True)
class FakeHub:
    """Where the hub answers, and what it gave so far."""

    endpoint: str
    given: list[str] = field(default_factory=list)
    """Names of the files that were asked for."""


@contextmanager
def serving_hub(repository: str, root: Path, *, kind: Literal["datasets", "models"]) -> Iterator[FakeHub]:
    """Serve the files below `root` as `repository`, at one commit."""
    given: list[str] = []
    prefix = "" if kind == "models" else f"/{kind}"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path.startswith(f"/api/{kind}/{repository}"):
                names = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
                if path.partition("/revision/")[2] in ("", "main", COMMIT):
                    body = {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
                    return self.give(json.dumps(body).encode(), {"Content-Type": "application/json"})
                return self.refuse("RevisionNotFound")
            start = f"{prefix}/{repository}/resolve/{COMMIT}/"
            if path.startswith(start) and (root / path[len(start) :]).is_file():
                given.append(path[len(start) :])
                content = (root / path[len(start) :]).read_bytes()
                return self.give(content, {"ETag": f'"{sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT})
            return self.refuse("RepoNotFound")

        def give(self, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def refuse(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield FakeHub(endpoint=f"http://127.0.0.1:{server.server_port}", given=given)
    finally:
        server.shutdown()


def hub_environment(home: Path, endpoint: str, *, offline: bool) -> dict[str, str]:
    """For a process of its own: the hub's client takes its settings from the environment at import."""
    return {
        **os.environ,
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "1" if offline else "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
