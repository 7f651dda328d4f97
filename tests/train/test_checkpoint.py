"""Checkpoints: whole or not there, and a damaged one costs no more than the steps since the one before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ayllu.train.checkpoint import Checkpoints


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"model.a": torch.full((5, 3), value), "optimizer.a.step": torch.tensor(value)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20, 30):
        checkpoints.save(step, tensors(step), {"losses": [0.1, float(step)]})
    checkpoints.close()
    return tmp_path


def newest(folder: Path) -> Path:
    return folder / "step-000000030"


def test_the_last_two_are_kept_and_the_newest_is_read(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["step-000000020", "step-000000030"]
    state = tensors(0)
    facts = Checkpoints(folder).restore(state)
    assert facts is not None
    assert (facts["step"], facts["losses"]) == (30, [0.1, 30.0])
    assert all(torch.equal(value, tensors(30)[name]) for name, value in state.items())
    assert state["optimizer.a.step"].shape == ()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink], ids=["truncated", "corrupt", "missing"])
@pytest.mark.parametrize("what", ["shard", "manifest"])
def test_a_damaged_one_falls_back_to_the_one_before(
    folder: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], what: str
) -> None:
    pattern = "*.safetensors" if what == "shard" else "checkpoint.json"
    damage(next(newest(folder).glob(pattern)))
    state = tensors(0)
    facts = Checkpoints(folder).restore(state)
    assert facts is not None
    assert facts["step"] == 20
    assert torch.equal(state["model.a"], tensors(20)["model.a"])
    assert "cannot be used" in capsys.readouterr().err


def test_without_a_whole_one_there_is_nothing_to_go_on_from(folder: Path) -> None:
    for place in folder.glob("step-*"):
        (place / "checkpoint.json").unlink()
    assert Checkpoints(folder).restore(tensors(0)) is None


def test_the_copy_is_of_the_moment_of_saving(tmp_path: Path) -> None:
    checkpoints, state = Checkpoints(tmp_path), tensors(1)
    checkpoints.save(1, state, {})
    state["model.a"].fill_(2)
    checkpoints.wait()
    checkpoints.restore(state)
    assert torch.equal(state["model.a"], tensors(1)["model.a"])


def test_nothing_is_pickled(folder: Path) -> None:
    assert {p.suffix for p in newest(folder).iterdir()} == {".safetensors", ".json"}
    assert json.loads((newest(folder) / "checkpoint.json").read_text())["step"] == 30


def test_one_that_cannot_be_written_is_told_and_costs_only_itself(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    checkpoints = Checkpoints(folder)
    with monkeypatch.context() as patch:
        patch.setattr("ayllu.train.checkpoint.dcp.save", full)
        checkpoints.save(40, tensors(40), {})
        checkpoints.wait()
    assert "No space left on device" in capsys.readouterr().err
    checkpoints.save(50, tensors(50), {})
    checkpoints.close()
    facts = Checkpoints(folder).restore(tensors(0))
    assert facts is not None
    assert facts["step"] == 50
