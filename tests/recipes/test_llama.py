"""The recipe llama by the real command: a shape of one's own, alone, on two processes, and as a launched plan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from ayllu.lab.error import UserError
from ayllu.model.files import hf
from ayllu.recipes.llama import _shape, llama
from ayllu.recipes.stages.pretrain import peak_lr
from support.models import TINY

AYLLU = (sys.executable, "-m", "ayllu.cli")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def words(place: Path) -> list[str]:
    shape = ["--model", str(place / "config.json"), "--sources", "moby-dick", "--tokens", "60000"]
    return [*shape, "--batch", "8", "--length", "64", "--rate", "0.01", "--documents", "20"]


def ayllu(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"AYLLU_HOME": str(home)}
    return subprocess.run([*AYLLU, *arguments], capture_output=True, text=True, timeout=400, env=environment)


@pytest.fixture(scope="module")
def alone(place: Path, shared_home: Path) -> dict[str, Any]:
    done = ayllu("run", "llama", *words(place), "--speed", "10000", "--json", home=shared_home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_learns_and_says_what_was_expected(alone: dict[str, Any], shared_home: Path) -> None:
    assert alone["predicted"]["seconds"] > 0
    assert alone["bits_per_byte"]
    assert max(alone["bits_per_byte"].values()) < 3.5
    done = ayllu("release", "verify", alone["release"], "--re-execute", home=shared_home)
    assert done.returncode == 0, done.stdout
    assert "training pretrain: PASS" in done.stdout and "scores: PASS" in done.stdout
    assert "data pipeline: PASS" in done.stdout
    assert "config.json" in (Path(alone["release"]) / "README.md").read_text()


def test_a_launched_plan_runs_under_its_layout_and_ends_with_the_same_model(
    alone: dict[str, Any], place: Path, shared_home: Path
) -> None:
    """The plan's layout reaches the processes, each of which makes its own part of the model."""
    # Each micro-batch sends its messages, of which there would be four times as many with one row in each.
    (place / "plan.json").write_text(json.dumps({"pools": [{"choices": [{"layout": {"tp": 2, "micro_batch": 4}}]}]}))
    (place / "jobs").mkdir()
    launched = ["fleet", "launch", "llama", "--plan", str(place / "plan.json"), "--on", "local"]
    folder = ["--folder", str(place / "jobs")]
    # In the home where it was trained alone, with another speed to expect: a layout is no part of any key, and from the
    # plan on all is made anew.
    home = ["--env", f"AYLLU_HOME={shared_home}"]
    done = ayllu(
        *launched, *folder, *home, "--json", "--", *words(place), "--speed", "20000", "--json", home=shared_home
    )
    assert done.returncode == 0, done.stderr
    end = time.monotonic() + 500
    while time.monotonic() < end:
        told = json.loads(ayllu("fleet", "launch", "status", "llama", *folder, "--json", home=shared_home).stdout)
        if told["state"] != "running":
            break
        time.sleep(2)  # each question is a program that takes its share of the processor
    log = ayllu("fleet", "launch", "logs", "llama", *folder, home=shared_home).stdout
    assert told["state"] == "finished", log
    report = json.loads(next(line for line in log.splitlines() if line.startswith("{")))
    assert report["stages"]["tokenize"] == alone["stages"]["tokenize"]
    assert report["stages"]["pretrain"] != alone["stages"]["pretrain"]
    assert report["final_loss"] == pytest.approx(alone["final_loss"], rel=0.02)
    for name, value in alone["bits_per_byte"].items():
        assert report["bits_per_byte"][name] == pytest.approx(value, rel=0.02)


def test_the_rates_are_those_of_llama_3() -> None:
    for parameters, published in ((8.03e9, 3e-4), (70.6e9, 1.5e-4), (405.8e9, 8e-5)):
        assert peak_lr(int(parameters)) == pytest.approx(published, rel=0.05)


def test_options_that_make_no_sense_are_refused(place: Path) -> None:
    with pytest.raises(UserError, match=r"there is no shape 'llama-9'; choose one of llama-3\.2-1b"):
        llama(model="llama-9")
    with pytest.raises(UserError, match="tokens is 0"):
        llama(tokens=0)
    with pytest.raises(UserError, match="batch is 0"):
        llama(batch=0)


def test_a_shape_is_read_from_a_file_of_any_name(tmp_path: Path) -> None:
    from ayllu.fleet.planner.find_job import find_model_config

    hf.save_config(tmp_path, TINY, dtype=torch.float32)
    named = (tmp_path / "config.json").rename(tmp_path / "tiny.json")
    assert _shape(str(named)) == find_model_config(str(named)) == TINY
    with pytest.raises(UserError, match="there is no shape"):
        _shape(str(tmp_path / "absent.json"))
    named.write_text("{}")
    with pytest.raises(UserError, match=r"tiny\.json cannot be used"):
        _shape(str(named))
