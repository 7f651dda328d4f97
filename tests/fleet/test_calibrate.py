"""Calibrating this machine: figures that it can have, kept where the catalogue finds them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ayllu.fleet import calibrate as room
from ayllu.fleet.catalogue import find_accelerator, find_fleet
from ayllu.fleet.plan import Job, plan
from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and smaller measurements."""
    monkeypatch.setenv("AYLLU_CACHE", str(tmp_path))
    monkeypatch.setattr(room, "STREAM_BYTES", 16 * 2**20)
    monkeypatch.setattr(room, "DISK_BYTES", 4 * 2**20)
    monkeypatch.setattr(room, "PRODUCT_SIZE", 128)
    return tmp_path


def test_this_machine_joins_the_catalogue(quick: Path) -> None:
    found = room.calibrate(training=False, power_w=30)
    assert 1e-4 < found.fp32_tflops < 1000
    assert 0.1 < found.memory_gb_s < 5000
    assert min(found.disk_write_gb_s, found.disk_read_gb_s, found.loopback_gb_s) > 0
    machine = find_accelerator("this-machine")
    assert machine.achieved("float32") == found.fp32_tflops
    assert machine.tdp_w == 30
    assert [path.name for path in (quick / "fleet").iterdir()] == ["this-machine.json"]


def test_a_run_on_this_machine_can_be_planned(quick: Path) -> None:
    room.calibrate(training=False)
    model = ModelConfig(vocabulary=512, layers=2, width=64, heads=2, kv_heads=1, feed_forward=128, context=128)
    job = Job(name="tiny", model=model, sequence=128, global_batch=4, tokens=1e6, precision="float32")
    best = plan(job, find_fleet("this-machine").pools[0]).best
    assert best.devices == 1
    assert 0 < best.step_s < 60


def test_timed_steps_scale_the_prediction(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TRAINING_SHAPES", ((2, 64, 2, 1, 128),))
    monkeypatch.setattr(room, "training_step", lambda model, batch, precision, compiled: 0.5 + 0.25 * batch)
    found = room.calibrate()
    ((width, factor),) = found.training
    assert width == 64
    model = room._model((2, 64, 2, 1, 128))
    assert factor * room.predicted_seconds(model, found) == pytest.approx(0.25, rel=1e-2)
    assert found.optimizer_s_per_parameter * model.parameters == pytest.approx(0.5, rel=1e-2)


def test_a_real_training_step_can_be_timed() -> None:
    assert 0 < room.training_step(room._model((1, 64, 2, 1, 128)), 2, repeats=1) < 60


def test_products_are_timed_in_the_type_asked_for() -> None:
    assert room.product_rate(torch.float32, size=64, seconds=0.01) > 1e6


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    monkeypatch.setenv("AYLLU_CACHE", str(blocked))
    with pytest.raises(UserError, match="AYLLU_CACHE"):
        room.calibrate(training=False)
