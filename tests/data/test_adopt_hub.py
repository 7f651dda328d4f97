"""A model on the hub: through the real client against a server on this machine, and from its cache without one."""

import json
import subprocess
import sys
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
from support.hub import COMMIT, NOWHERE, FakeHub, hub_environment, serving_hub


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
def hub(repository: Path) -> Iterator[FakeHub]:
    with serving_hub("anna/llama", repository, kind="models") as served:
        yield served


def adopt(source: str, home: Path, endpoint: str, *, offline: bool = False) -> subprocess.CompletedProcess[str]:
    environment = hub_environment(home / "hub", endpoint, offline=offline) | {"AYLLU_HOME": str(home / "lab")}
    command = [sys.executable, "-m", "ayllu.cli", "adopt", source, "--json"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_a_model_comes_from_the_hub_and_then_from_its_cache(hub: FakeHub, repository: Path, tmp_path: Path) -> None:
    done = adopt("anna/llama", tmp_path, hub.endpoint)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert (report["name"], report["kind"], report["licence"]) == ("llama", "hub", "llama-anna")
    assert report["source"] == f"anna/llama@{COMMIT}"
    assert report["files"]["model.safetensors"] == sha256((repository / "model.safetensors").read_bytes()).hexdigest()
    folder = Path(report["folder"])
    assert (folder / "model.safetensors").read_bytes() == (repository / "model.safetensors").read_bytes()
    assert not {"pytorch_model.bin", "modeling.py"} & set(hub.given)
    # The same without the hub: switched off.
    again = adopt(f"hf:anna/llama@{COMMIT}", tmp_path, NOWHERE, offline=True)
    assert json.loads(again.stdout)["digest"] == report["digest"], again.stderr
    for source, where, said in (
        ("anna/nothing", hub.endpoint, "no model anna/nothing"),
        ("anna/other", NOWHERE, "go online"),
    ):
        refused = adopt(source, tmp_path, where)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert said in refused.stderr.strip().splitlines()[-1]
