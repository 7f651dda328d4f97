"""Calibrating this machine: figures that it can have, kept where the catalogue finds them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from ayllu.fleet import calibrate as room
from ayllu.fleet.catalogue import find_accelerator, find_fleet
from ayllu.fleet.planner.plan import plan
from ayllu.fleet.planner.training_job import TrainingJob
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
    job = TrainingJob(name="tiny", model=model, sequence=128, global_batch=4, tokens=1e6, precision="float32")
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


def test_what_was_measured_of_a_step_stands_in_place_of_what_was_believed(quick: Path) -> None:
    """Not beside it: on a fast machine what every step takes would count twice."""
    found = replace(room.calibrate(training=False), training=((64, 1.5),), optimizer_s_per_parameter=1e-6)
    (quick / "fleet" / "this-machine.json").write_text(json.dumps(asdict(found)), encoding="utf-8")
    model = ModelConfig(vocabulary=512, layers=2, width=64, heads=2, kv_heads=1, feed_forward=128, context=128)
    job = TrainingJob(name="tiny", model=model, sequence=128, global_batch=4, tokens=1e6, precision="float32")
    best = plan(job, find_fleet("this-machine").pools[0]).best
    assert best.breakdown_s["optimizer"] == pytest.approx(1e-6 * model.parameters)
    assert sum(best.breakdown_s.values()) == pytest.approx(best.step_s)


def test_the_gpus_of_a_machine_are_what_is_planned_with(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of two GPUs, played: a machine without any still reads what one with them has written."""
    found = room.calibrate(training=False)
    played = replace(
        found, gpus=2, name="GPU", bf16_tflops=700.0, float8_tflops=1300.0, link_gb_s=400.0, memory_gb=80.0
    )
    (quick / "fleet" / "this-machine.json").write_text(json.dumps(asdict(played)), encoding="utf-8")
    pool = find_fleet("this-machine").pools[0]
    assert (pool.count, pool.accelerator.link_domain, pool.accelerator.link_gb_s) == (2, 2, 400.0)
    assert pool.accelerator.achieved("float8") == 1300
    model = ModelConfig(vocabulary=512, layers=2, width=64, heads=2, kv_heads=1, feed_forward=128, context=128)
    job = TrainingJob(name="tiny", model=model, sequence=128, global_batch=4, tokens=1e6)
    assert {choice.devices for choice in plan(job, pool).choices} == {2}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and there is none here")
def test_a_gpu_is_measured_and_a_step_on_it_foretold(quick: Path) -> None:
    found = room.calibrate(compiled=True)
    assert found.gpus == torch.cuda.device_count()
    assert found.bf16_tflops > 3 * found.fp32_tflops
    assert found.memory_gb_s > 300
    model = ModelConfig(
        vocabulary=32_768, layers=6, width=2048, heads=16, kv_heads=8, feed_forward=5632, context=2048, tied=True
    )
    job = TrainingJob(name="step", model=model, sequence=2048, global_batch=4, tokens=1e9)
    best = min(
        (c for c in plan(job, find_fleet("this-machine").pools[0]).frontier if c.layout.micro_batch == 4),
        key=lambda c: c.step_s,
    )
    measured = room.training_step(model, 4, "bf16", compiled=True)
    assert best.step_s == pytest.approx(measured, rel=0.2)
