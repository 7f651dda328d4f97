"""`ayllu sweep` and `ayllu scale` by the real command, on the smallest models: killed in the middle, they go on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from support.fleet.slurm import SlurmCluster
from support.parts import need_module

pytestmark = pytest.mark.slow  # trains a dozen small models
SMALL = ("--licence", "PSF-2.0", "--vocabulary", "512", "--length", "64", "--json")
SWEEP = ("sweep", "cria", "--set", "lr=0.005,0.02", "--budget", "0.01", "--width", "64", "--depth", "1", "--batch", "4")
SCALE = ("scale", "cria", "--rungs", "4", "--budget", "0.05", "--speed", "2e10", "--documents", "20")


def start(words: tuple[str, ...], home: Path, texts: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ayllu.cli", *words, "--sources", f"folder:{texts}", *SMALL, "--home", str(home)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy())


def finish(words: tuple[str, ...], home: Path, texts: Path) -> dict[str, Any]:
    process = start(words, home, texts)
    out, told = process.communicate(timeout=1500)
    assert process.returncode == 0, told
    return json.loads(out)


def kill_when(words: tuple[str, ...], home: Path, texts: Path, stage: str) -> None:
    """Start the command, and kill it as soon as a second result of `stage` is under way."""
    process = start(words, home, texts)
    until = time.monotonic() + 1500
    while time.monotonic() < until and process.poll() is None:
        made = len(list(home.glob(f"artifacts/{stage}-*")))
        if made and list(home.glob(f"partial/{stage}-*/begun.json")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was in the middle"


def made_at(home: Path, stage: str) -> dict[str, float]:
    return {path.parent.name: path.stat().st_mtime for path in home.glob(f"artifacts/{stage}-*/manifest.json")}


def test_a_sweep_that_was_killed_goes_on_and_says_how_sure_its_best_is(tmp_path: Path, english_texts: Path) -> None:
    need_module("optuna", "Optuna is not installed: pip install .[sweep]")
    words = (*SWEEP, "--speed", "20000", "--seeds", "2", "--heldout", "20")
    kill_when(words, tmp_path, english_texts, "pretrain")
    before = made_at(tmp_path, "pretrain")
    record = finish(words, tmp_path, english_texts)
    after = made_at(tmp_path, "pretrain")
    assert before and before.items() <= after.items(), "what was trained before the kill was not trained again"
    assert len(after) == 4, "two learning rates, and the better one with two other seeds"
    best = record["best"]
    tried = {row["values"]["lr"]: row["value"] for row in record["trials"] if row["seed"] == 0}
    assert tried[best["values"]["lr"]] == best["chosen_by"] == min(tried.values())
    assert best["by_seed"] == [row["value"] for row in record["trials"] if row["seed"] > 0]
    assert len(best["by_seed"]) == 2 and best["mean"] == pytest.approx(sum(best["by_seed"]) / 2)
    assert best["low"] < best["mean"] < best["high"]
    kept = json.loads((tmp_path / "sweeps" / f"{record['id']}.json").read_text())
    assert kept["state"] == "finished"
    assert (tmp_path / "sweeps" / record["picture"]).read_bytes().startswith(b"\x89PNG")


def test_a_ladder_that_was_killed_goes_on_and_predicts_before_it_trains(tmp_path: Path, english_texts: Path) -> None:
    kill_when(SCALE, tmp_path, english_texts, "rung")
    before = made_at(tmp_path, "rung")
    report = finish(SCALE, tmp_path, english_texts)
    assert before and before.items() <= made_at(tmp_path, "rung").items()
    assert len(report["points"]) == 12
    assert report["predicted"]["made"] <= report["measured"]["began"], "predicted before it was trained"
    last = report["predicted"]["losses"][-1]
    assert last["low"] < last["loss"] < last["high"]
    lines = [json.loads(line) for line in (tmp_path / "forecasts.jsonl").read_text().splitlines()]
    (kept,) = [row for row in lines if row["what"] == "bits_per_byte"]
    assert (kept["value"], kept["low"], kept["high"]) == (last["loss"], last["low"], last["high"])
    assert abs(report["error_pct"]) < 20


@pytest.mark.parametrize("scheduler", ["local", "slurm"])
def test_workers_train_what_the_sweep_then_finds(
    scheduler: str, tmp_path: Path, english_texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_module("optuna", "Optuna is not installed: pip install .[sweep]")
    words = (*SWEEP[:3], "lr=0.005,0.01,0.02", *SWEEP[4:], "--speed", "20000", "--seeds", "0", "--heldout", "20")
    with contextlib.ExitStack() as stack:
        if scheduler == "slurm":
            (tmp_path / "cluster").mkdir()
            cluster = stack.enter_context(SlurmCluster(tmp_path / "cluster"))
            monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
        home = tmp_path / "home"
        record = finish((*words, "--workers", "2", "--on", scheduler), home, english_texts)
    assert sorted(row["values"]["lr"] for row in record["trials"]) == [0.005, 0.01, 0.02]
    assert {row["state"] for row in record["trials"]} == {"finished"}
    jobs = [json.loads(path.read_text()) for path in home.glob("jobs/*.json")]
    makers = {job["pid"] for job in jobs for stage in job["stages"] if stage["made"] and stage["stage"] == "pretrain"}
    assert len(jobs) and len(makers) == 2, "each worker trained, and the sweep itself did not"
    alone = finish(words, tmp_path / "alone", english_texts)
    assert [row["value"] for row in alone["trials"]] == [row["value"] for row in record["trials"]]
