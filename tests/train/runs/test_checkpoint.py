"""Checkpoints: whole or not there, and a damaged one costs no more than the steps since the one before."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ayllu.data.tokens.loader import Batch, Loader
from ayllu.train.checkpoint import Checkpoints
from ayllu.train.loop import TrainConfig, train
from support.programs.layouts import model, tokens


def state_of(value: float) -> dict[str, torch.Tensor]:
    return {"model.a": torch.full((5, 3), value), "optimizer.a.step": torch.tensor(value)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20, 30):
        checkpoints.save(step, state_of(step), {"losses": [0.1, float(step)]})
    checkpoints.close()
    return tmp_path


def newest(folder: Path) -> Path:
    return folder / "step-000000030"


def test_the_last_two_are_kept_and_the_newest_is_read(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["step-000000020", "step-000000030"]
    state = state_of(0)
    facts = Checkpoints(folder).restore(state)
    assert facts is not None
    assert (facts["step"], facts["losses"]) == (30, [0.1, 30.0])
    assert all(torch.equal(value, state_of(30)[name]) for name, value in state.items())
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
    state = state_of(0)
    facts = Checkpoints(folder).restore(state)
    assert facts is not None
    assert facts["step"] == 20
    assert torch.equal(state["model.a"], state_of(20)["model.a"])
    assert "cannot be used" in capsys.readouterr().err


def test_a_damaged_one_never_counts_among_those_kept(folder: Path) -> None:
    """Going on from 20 past a damaged 30, the next are 25 and 28: both stay, and 30, which is no use, goes."""
    cut(next(newest(folder).glob("*.safetensors")))
    checkpoints = Checkpoints(folder)
    checkpoints.restore(state_of(0))
    for step in (25, 28):
        checkpoints.save(step, state_of(step), {})
        checkpoints.wait()
    assert not newest(folder).exists()
    cut(next((folder / "step-000000028").glob("*.safetensors")))
    facts = Checkpoints(folder).restore(state_of(0))
    assert facts is not None
    assert facts["step"] == 25


def test_without_a_whole_one_there_is_nothing_to_go_on_from(folder: Path) -> None:
    for place in folder.glob("step-*"):
        (place / "checkpoint.json").unlink()
    assert Checkpoints(folder).restore(state_of(0)) is None


def test_the_copy_is_of_the_moment_of_saving(tmp_path: Path) -> None:
    checkpoints, state = Checkpoints(tmp_path), state_of(1)
    checkpoints.save(1, state, {})
    state["model.a"].fill_(2)
    checkpoints.wait()
    checkpoints.restore(state)
    assert torch.equal(state["model.a"], state_of(1)["model.a"])


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
        checkpoints.save(40, state_of(40), {})
        checkpoints.wait()
    assert "No space left on device" in capsys.readouterr().err
    checkpoints.save(50, state_of(50), {})
    checkpoints.close()
    facts = Checkpoints(folder).restore(state_of(0))
    assert facts is not None
    assert facts["step"] == 50


class Waiting(Loader):
    """Opens a gate when the last step's data is asked for."""

    gate: threading.Event

    def batch(self, first: int, size: int) -> Batch:
        if first == 4 * 29:
            self.gate.set()
        return super().batch(first, size)


def test_a_slow_disk_costs_checkpoints_and_no_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing gets to the disk before the last step has begun: a loop that waited for it would never get there."""
    gate = threading.Event()
    write = Checkpoints._write
    written = []

    def slowly(self: Checkpoints, step: int, *rest: Any) -> None:
        assert gate.wait(60)
        written.append(step)
        write(self, step, *rest)

    monkeypatch.setattr(Checkpoints, "_write", slowly)
    source = Waiting(tokens(tmp_path / "tokens"), seed=0)
    source.gate = gate
    config = TrainConfig(steps=30, batch=4, warmup=2, precision="float32", checkpoint_seconds=0)
    slow = train(model(True), source, config, scratch=tmp_path / "slow", title="slow")
    assert written[0] == 1
    assert len(written) <= 2
    monkeypatch.undo()
    fast = train(model(True), source, config, scratch=tmp_path / "fast", title="fast")
    assert slow.losses == fast.losses


def test_a_clock_that_lies_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of day jumps years back and forth, as before a machine has found its time server; and files with it."""
    source = Loader(tokens(tmp_path / "tokens"), seed=0)
    config = TrainConfig(steps=12, batch=4, warmup=2, precision="float32", checkpoint_seconds=0)
    expected = train(model(True), source, config, scratch=tmp_path / "right", title="right").losses
    chance = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: chance.uniform(0, 4e9))
    train(model(True), source, config, scratch=tmp_path / "lying", title="lying")
    kept = sorted((tmp_path / "lying" / "checkpoints").glob("step-*"))
    # The older of the two looks newer by its dates: its number counts.
    for age, place in enumerate(kept):
        for path in (place, *place.iterdir()):
            os.utime(path, (2e9 - 1e6 * age,) * 2)
    again = train(model(True), source, config, scratch=tmp_path / "lying", title="lying")
    assert again.losses == expected
