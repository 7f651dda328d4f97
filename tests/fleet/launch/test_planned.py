"""A plan launches as planned: all that it computed reaches the job, and what cannot is refused in one sentence."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from ayllu.cli.fleet.commands import app
from ayllu.lab.error import UserError
from ayllu.model.files import hf
from ayllu.model.presets import PRESETS
from ayllu.train.distributed.layout import Layout

Command = Callable[[list[str]], None]
fleet: Command = partial(app, result_action="return_value")
Planned = Callable[..., Path]


@pytest.fixture
def planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Planned:
    def write(*words: str, change: dict[str, Any] | None = None) -> Path:
        fleet(["plan", *words, "--json"])
        path = tmp_path / "plan.json"
        path.write_text(json.dumps(json.loads(capsys.readouterr().out) | (change or {})))
        return path

    return write


def launched(capsys: pytest.CaptureFixture[str], recipe: str, plan: Path, *words: str) -> tuple[str, dict[str, str]]:
    """The script for Slurm, and the options with which the recipe runs in it."""
    fleet(["launch", recipe, "--on", "slurm", "--plan", str(plan), "--dry-run", "--json", *words])
    script = json.loads(capsys.readouterr().out)["files"]["job.sbatch"]
    step = next(line for line in script.splitlines() if line.startswith("srun"))
    inner = shlex.split(shlex.split(step.removesuffix("&"))[-1])
    options = inner[inner.index("run") + 2 :]
    return script, dict(zip(options[::2], options[1::2], strict=True))


def test_a_plan_of_a_model_hands_over_all_that_it_computed(
    planned: Planned, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("llama-3.2-1b", "--fleet", "16xh100", "--batch", "262144", "--sequence", "4096", "--tokens", "3e9")
    path = planned(*words, "--precision", "float8")
    script, options = launched(capsys, "llama", path)
    choice = json.loads(path.read_text())["pools"][0]["choices"][0]
    assert float(options.pop("--speed")) == pytest.approx(choice["tokens_per_s"], rel=1e-5)
    assert options == {"--model": "llama-3.2-1b", "--length": "4096", "--batch": "64", "--tokens": "3000000000"}
    assert "#SBATCH --nodes=2\n" in script and "#SBATCH --gpus-per-node=8\n" in script
    exported = next(line for line in script.splitlines() if line.startswith("export AYLLU_LAYOUT="))
    said = subprocess.run(["sh", "-c", f'{exported}; echo "$AYLLU_LAYOUT"'], capture_output=True, text=True).stdout
    layout = Layout(**json.loads(said))
    assert layout == Layout(**choice["layout"]) and layout.precision == "float8"


def test_defaults_of_a_plan_are_handed_over_too_and_a_folder_is_named_whole(
    planned: Planned, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(hf.to_json(PRESETS["llama-3.2-1b"], torch.bfloat16)))
    monkeypatch.chdir(tmp_path)
    path = planned("own", "--fleet", "8xh100")
    told = json.loads(path.read_text())
    monkeypatch.chdir("/")
    _, options = launched(capsys, "llama", path)
    assert options["--model"] == str(folder)
    assert int(options["--batch"]) == told["global_batch"] and int(options["--tokens"]) == told["tokens"]


def test_a_plan_of_a_recipe_hands_over_what_was_asked_for(planned: Planned, capsys: pytest.CaptureFixture[str]) -> None:
    _, options = launched(capsys, "cria", planned("cria", "--fleet", "1xh100", "--budget", "30", "--sequence", "512"))
    assert options == {"--budget": "30", "--length": "512"}
    _, options = launched(capsys, "smol", planned("smol", "--fleet", "1xh100"))
    assert options == {}


@pytest.mark.parametrize(
    ("plan", "recipe", "words", "said"),
    [
        (("llama-3.2-1b", "--fleet", "8xh100"), "smol", (), "recipe smol trains its own"),
        (("smol", "--fleet", "1xh100"), "cria", (), "the plan is of recipe smol"),
        (("smol", "--fleet", "1xh100", "--batch", "65536"), "smol", (), "batch .* recipe smol has no option"),
        (("cria", "--fleet", "1xh100", "--tokens", "1e6"), "cria", (), "tokens 1000000, for which"),
        (("ladder-4x256", "--fleet", "1xh100"), "llama", (), "no recipe takes by name"),
        (("mixtral-8x7b", "--fleet", "64xh100"), "llama", (), "planned only|divides experts"),
        (("llama-3.2-1b", "--fleet", "8xh100", "--precision", "float4"), "llama", (), "float4"),
        (("llama-3.2-1b", "--fleet", "8xh100"), "llama", ("--", "--batch", "7"), "--batch is 7, and the plan"),
        (("llama-3.2-1b", "--fleet", "8xh100"), "llama", ("--", "--model=llama-3.1-8b"), "--model is llama-3.1-8b"),
        (("llama-3.2-1b", "--fleet", "8xh100"), "llama", ("--", "--layout", "dp_shard=2"), "says the layout"),
        (("smol", "--fleet", "1xh100"), "smol", ("--", "--nodes=2"), "says the nodes"),
        (("llama-3.2-1b", "--fleet", "8xh100"), "llama", ("--processes-per-node", "3"), "8 processes"),
        (("llama-3.2-1b", "--fleet", "8xh100"), "llama", ("--env", "AYLLU_LAYOUT=x"), "leave out --env"),
    ],
)
def test_what_a_job_cannot_run_as_planned_is_refused(
    planned: Planned, plan: tuple[str, ...], recipe: str, words: tuple[str, ...], said: str
) -> None:
    changed = {"precision": plan[-1]} if plan[-1] == "float4" else None
    path = planned(*(plan[:-2] if changed else plan), change=changed)
    with pytest.raises(UserError, match=said):
        fleet(["launch", recipe, "--on", "slurm", "--plan", str(path), "--dry-run", *words])


def test_a_plan_of_few_devices_starts_no_more_processes(planned: Planned, capsys: pytest.CaptureFixture[str]) -> None:
    """A layout of two on nodes of eight."""
    script, _ = launched(capsys, "llama", planned("llama-3.2-1b", "--fleet", "2xh100"), "--accelerators-per-node", "8")
    assert "--nproc-per-node=2" in script and "#SBATCH --nodes=1\n" in script


def test_the_same_value_said_twice_is_no_conflict(planned: Planned, capsys: pytest.CaptureFixture[str]) -> None:
    path = planned("llama-3.2-1b", "--fleet", "8xh100", "--tokens", "1e9")
    _, options = launched(capsys, "llama", path, "--", "--tokens", "1e9", "--model", "llama-3.2-1b")
    assert options["--tokens"] == "1e9"


def test_nodes_are_those_of_the_part(planned: Planned, capsys: pytest.CaptureFixture[str]) -> None:
    script, _ = launched(capsys, "llama", planned("llama-3.2-1b", "--fleet", "8xgb200"))
    assert "#SBATCH --nodes=2\n" in script and "#SBATCH --gpus-per-node=4\n" in script
    script, _ = launched(
        capsys,
        "llama",
        planned("ladder-4x256", "--fleet", "1xlaptop-cpu", change={"recipe": True, "model": "llama", "asked": {}}),
    )
    assert "gpus-per-node" not in script
