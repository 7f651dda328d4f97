"""The recipe smol, whole, with a tiny random model in seconds: every stage, a kill in between, bad data before it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ayllu.lab.error import UserError
from ayllu.lab.store import Store
from ayllu.recipes.smol import smol

DRIVER = Path(__file__).with_name("drive_smol.py")


def start(home: Path, *, stop_at: str = "") -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(DRIVER), str(home), stop_at],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    return output


def digests(home: Path) -> dict[str, str]:
    """Of what each stage of training made."""
    manifests = [m for m in Store(home).manifests() if m["stage"] in ("lessons", "teach", "skills")]
    return {f"{m['stage']} {json.dumps(m['arguments'])} {m['key']}": m["digest"] for m in manifests}


@pytest.mark.slow
def test_the_whole_recipe_and_a_killed_one_end_alike(tmp_path: Path) -> None:
    finish(start(tmp_path / "whole"))
    process = start(tmp_path / "killed", stop_at="grpo")
    assert process.wait(timeout=500) == -signal.SIGKILL
    began = time.monotonic()
    output = finish(start(tmp_path / "killed"))
    assert time.monotonic() - began < 500
    assert "going on from step" in output
    assert digests(tmp_path / "whole") == digests(tmp_path / "killed")

    (released,) = [m for m in Store(tmp_path / "whole").manifests() if m["stage"] == "release_post"]
    folder = Path(released["folder"]) / "release"
    assert (folder / "figures" / "rewards.png").is_file()
    told = json.loads((folder / "records.json").read_text())["training"]
    assert set(told["comparison"]["skills"]) == {
        "tool_calls exact",
        "tool_calls read",
        "reasoning correct",
        "reasoning format",
    }
    assert told["posttraining"]["grpo"]["steps"] == 3
    (taught,) = [m for m in Store(tmp_path / "whole").manifests() if m["arguments"].get("kind") == "grpo"]
    lines = (Path(taught["folder"]) / "rewards.jsonl").read_text().splitlines()
    assert [json.loads(line)["first"] for line in lines] == [0, 8, 16]


def test_bad_conversations_stop_the_run_before_it_starts(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "Hi"}, {"role": "robot", "content": "Hello"}]}\n')
    with pytest.raises(UserError, match="line 1: turn 2 has the unknown role 'robot'"):
        smol(chats=path)


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match="budget"):
        smol(budget=0)
    with pytest.raises(UserError, match="items"):
        smol(items=1)
    with pytest.raises(UserError, match="steps"):
        smol(steps=(1, 0, 1))
