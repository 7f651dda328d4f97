"""A stand-in of the Hugging Face hub's HTTP API: repositories, uploads in both ways, and downloads."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub:
    """What the stand-in holds."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cards: list[str] = []
        self.address = ""

    def sha(self, repository: str) -> str:
        """Names the state of a repository."""
        held = sorted(
            (path, hashlib.sha256(content).hexdigest()) for path, content in self.repositories[repository].items()
        )
        return hashlib.sha1(json.dumps(held).encode()).hexdigest()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers."""
        self.asked.append(f"{method} {path}")
        if path == "/api/repos/create":
            named = json.loads(body)
            name = f"{named.get('organization') or 'me'}/{named['name']}"
            self.repositories.setdefault(name, {})
            return 200, {"url": f"{self.address}/{name}", "name": name, "id": name}, {}
        if path == "/api/validate-yaml":
            self.cards.append(json.loads(body)["content"])
            return 200, {"errors": [], "warnings": []}, {}
        if path.startswith("/large/"):
            self.large[path.removeprefix("/large/")] = body
            return 200, {}, {}
        if found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            wanted = json.loads(body)["objects"]
            actions = [{**one, "actions": {"upload": {"href": f"{self.address}/large/{one['oid']}"}}} for one in wanted]
            return 200, {"transfer": "basic", "objects": actions}, {}
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/\w+", path):
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith((".safetensors", ".gguf")) else "regular",
                    "shouldIgnore": False,
                }
                for one in files
            ]
            return 200, {"files": modes}, {}
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/\w+", path):
            return 200, self.commit(found[1], body), {}
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(?:revision|tree)/\w+)?", path):
            return self.listing(found[1], tree="/tree/" in path)
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", path):
            content = self.repositories[found[1]].get(found[2])
            if content is None:
                return 404, {}, {"X-Error-Code": "EntryNotFound"}
            etag = f'"{hashlib.sha1(content).hexdigest()}"'
            return 200, content, {"X-Repo-Commit": self.sha(found[1]), "ETag": etag}
        return 404, {}, {}

    def commit(self, name: str, body: bytes) -> dict[str, Any]:
        """Take in a commit's lines."""
        held = self.repositories[name]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                held[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                held[value["path"]] = self.large[value["oid"]]
            elif line["key"] == "deletedFile":
                held.pop(value["path"], None)
        return {"commitUrl": f"{self.address}/{name}/commit/{self.sha(name)}", "commitOid": self.sha(name)}

    def listing(self, name: str, *, tree: bool) -> tuple[int, Any, dict[str, str]]:
        """What a repository holds."""
        if name not in self.repositories:
            return 404, {}, {"X-Error-Code": "RepoNotFound"}
        held = self.repositories[name]
        if tree:
            files = [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in held.items()
            ]
            return 200, files, {}
        siblings = [{"rfilename": path} for path in held]
        return 200, {"id": name, "sha": self.sha(name), "siblings": siblings, "private": False, "tags": []}, {}


@contextmanager
def hub() -> Iterator[Hub]:
    """The stand-in on a free port of this machine."""
    held = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, value, headers = held.answer(self.command, unquote(urlsplit(self.path).path), body)
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, told in headers.items():
                self.send_header(name, told)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do_PUT = handle_any

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
