"""Hub data sets: through the real client against a server on this machine, and from its cache without one."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ayllu.data.sources.hub import HubDataset, choose_files, parse_hub_name
from ayllu.lab.error import UserError

NOWHERE = "http://127.0.0.1:9"
COMMIT = "1234567890abcdef1234567890abcdef12345678"
CARD = """---
license: cc0-1.0
configs:
- config_name: small
  data_files:
  - split: train
    path: small/train-*.parquet
  - split: test
    path: small/test-*.parquet
- config_name: lines
  default: true
  data_files: lines/*.jsonl
---
# Small stories
"""

READ = """
import sys, json
from pathlib import Path
from ayllu.data.sources.registry import find_source
from ayllu.lab.error import UserError
for name in sys.argv[1:]:
    try:
        source = find_source(name)
        texts = {d.id: d.text for d in source.read(Path("unused"))}
        print(json.dumps({"texts": texts, "notes": source.notes}))
    except UserError as error:
        print(json.dumps({"error": str(error)}))
"""
SMALL = {"small/train-0.parquet:1": "one", "small/train-0.parquet:2": "two", "small/train-1.parquet:1": "three"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a data set."""
    root = tmp_path_factory.mktemp("hub") / "stories"
    (root / "small").mkdir(parents=True)
    (root / "lines").mkdir()
    (root / "README.md").write_text(CARD)
    pq.write_table(pa.table({"text": ["one", "two"]}), root / "small" / "train-0.parquet")
    pq.write_table(pa.table({"text": ["three"]}), root / "small" / "train-1.parquet")
    pq.write_table(pa.table({"text": ["never"]}), root / "small" / "test-0.parquet")
    (root / "lines" / "a.jsonl").write_text('{"text": "four"}\n{"text": "five"}\n')
    return root


@pytest.fixture(scope="module")
def hub(repository: Path) -> Iterator[str]:
    """A server that speaks as much of the hub's protocol as reading a data set needs."""

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path.startswith("/api/datasets/anna/stories"):
                names = sorted(p.relative_to(repository).as_posix() for p in repository.rglob("*") if p.is_file())
                revision = path.partition("/revision/")[2]
                if revision in ("", "main", COMMIT):
                    body = {"id": "anna/stories", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
                    return self.give(json.dumps(body).encode(), {"Content-Type": "application/json"})
                return self.refuse("RevisionNotFound")
            start = f"/datasets/anna/stories/resolve/{COMMIT}/"
            if path.startswith(start) and (repository / path[len(start) :]).is_file():
                content = (repository / path[len(start) :]).read_bytes()
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

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def read(names: list[str], home: Path, endpoint: str, *, offline: bool = False) -> list[dict[str, Any]]:
    """Read sources in a process of its own: the client takes its settings from the environment at import."""
    environment = {
        **os.environ,
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "1" if offline else "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    command = [sys.executable, "-c", READ, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_data_set_is_read_through_the_client_and_then_from_its_cache(hub: str, tmp_path: Path) -> None:
    pinned = f"hf:anna/stories:small@{COMMIT}"
    small, default, nothing, revision, config = read(
        ["hf:anna/stories:small", "hf:anna/stories", "hf:anna/nothing", "hf:anna/stories@v9", "hf:anna/stories:large"],
        tmp_path,
        hub,
    )
    assert small["texts"] == SMALL
    assert small["notes"] == [f"revision {COMMIT}, 2 files of the train split", "licence on the card: cc0-1.0"]
    assert list(default["texts"].values()) == ["four", "five"]
    assert "there is no data set anna/nothing" in nothing["error"]
    assert "has no revision v9" in revision["error"]
    assert "no configuration large: choose small, lines" in config["error"]
    # The same without the hub: switched off, and out of reach.
    cached, missing = read([pinned, "hf:anna/nothing"], tmp_path, NOWHERE, offline=True)
    assert cached["texts"] == SMALL
    assert "go online" in missing["error"]
    (unreachable,) = read([pinned], tmp_path, NOWHERE)
    assert unreachable["texts"] == SMALL


def test_names() -> None:
    assert parse_hub_name("hf:a/b-c.d") == HubDataset(repository="a/b-c.d")
    assert parse_hub_name("hf:a/b:en.x@refs/convert/parquet") == HubDataset(
        repository="a/b", config="en.x", revision="refs/convert/parquet"
    )
    for wrong in ("hf:", "hf:a", "hf:a/b/c", "hf:a/b:"):
        with pytest.raises(UserError, match="does not name a data set"):
            parse_hub_name(wrong)


def test_files_without_a_card() -> None:
    names = ["en/train-0.parquet", "en/validation-0.parquet", "fr/train-0.parquet", "notes.txt"]
    plain = HubDataset(repository="a/b")
    assert choose_files(names, {}, plain) == ["en/train-0.parquet", "fr/train-0.parquet"]
    assert choose_files(names, {}, HubDataset(repository="a/b", config="fr")) == ["fr/train-0.parquet"]
    assert choose_files(["all.jsonl"], {}, plain) == ["all.jsonl"]
    with pytest.raises(UserError, match="no parquet or JSONL file"):
        choose_files(["notes.txt"], {}, plain)
