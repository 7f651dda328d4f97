"""A model on the hub: through the real client against a server on this machine, and from its cache without one."""

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

import pytest
import torch

from ayllu.model.config import ModelConfig
from ayllu.model.files import hf
from ayllu.model.transformer import Transformer
from ayllu.text.tokenizer import Tokenizer

COMMIT = "1234567890abcdef1234567890abcdef12345678"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a model, and one that nobody should fetch."""
    root = tmp_path_factory.mktemp("hub") / "llama"
    tokenizer = Tokenizer.learn(["The llama walks."] * 9, 512)
    model = Transformer(
        ModelConfig(vocabulary=512, layers=1, width=32, heads=2, kv_heads=1, feed_forward=64, context=64, tied=True)
    )
    model.initialise(0)
    hf.save(root, model, dtype=torch.bfloat16, bos=tokenizer.bos, stops=sorted(tokenizer.stops))
    tokenizer.save(root)
    (root / "README.md").write_text("---\nlicense: other\nlicense_name: llama-anna\n---\n# Llama\n")
    (root / "pytorch_model.bin").write_bytes(b"never read")
    (root / "modeling.py").write_text("raise SystemExit('never run')")
    return root


@pytest.fixture(scope="module")
def hub(repository: Path) -> Iterator[tuple[str, list[str]]]:
    """A server that speaks as much of the hub's protocol as reading a model needs; it lists the files it gave."""
    given: list[str] = []

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path.startswith("/api/models/anna/llama"):
                names = sorted(p.name for p in repository.iterdir())
                body = {"id": "anna/llama", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
                return self.give(json.dumps(body).encode(), {"Content-Type": "application/json"})
            start = f"/anna/llama/resolve/{COMMIT}/"
            if path.startswith(start) and (repository / path[len(start) :]).is_file():
                given.append(path[len(start) :])
                content = (repository / path[len(start) :]).read_bytes()
                return self.give(content, {"ETag": f'"{sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT})
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            return self.end_headers()

        def give(self, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", given
    server.shutdown()


def adopt(source: str, home: Path, endpoint: str, *, offline: bool = False) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the client takes its settings from the environment at import."""
    environment = {
        **os.environ,
        "AYLLU_HOME": str(home / "lab"),
        "HF_HOME": str(home / "hub"),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "1" if offline else "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    command = [sys.executable, "-m", "ayllu.cli", "adopt", source, "--json"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_a_model_comes_from_the_hub_and_then_from_its_cache(
    hub: tuple[str, list[str]], repository: Path, tmp_path: Path
) -> None:
    endpoint, given = hub
    done = adopt("anna/llama", tmp_path, endpoint)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert (report["name"], report["kind"], report["licence"]) == ("llama", "hub", "llama-anna")
    assert report["source"] == f"anna/llama@{COMMIT}"
    assert report["files"]["model.safetensors"] == sha256((repository / "model.safetensors").read_bytes()).hexdigest()
    folder = Path(report["folder"])
    assert (folder / "model.safetensors").read_bytes() == (repository / "model.safetensors").read_bytes()
    assert not {"pytorch_model.bin", "modeling.py"} & set(given)
    # The same without the hub: switched off.
    again = adopt(f"hf:anna/llama@{COMMIT}", tmp_path, NOWHERE, offline=True)
    assert json.loads(again.stdout)["digest"] == report["digest"], again.stderr
    for source, where, said in (
        ("anna/nothing", endpoint, "no model anna/nothing"),
        ("anna/other", NOWHERE, "go online"),
    ):
        refused = adopt(source, tmp_path, where)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert said in refused.stderr.strip().splitlines()[-1]
