"""The training loop: it learns, and ends with the same bits after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from ayllu.data.tokens.loader import Loader
from ayllu.train.loop import TrainConfig, train
from ayllu.train.machine import compiler_available
from support.parts import need
from support.training import jobs
from support.training.tiny import fresh_model


def test_a_model_learns(loader: Loader, tmp_path: Path) -> None:
    config = TrainConfig(steps=200, batch=8, warmup=5, precision="float32")
    result = train(fresh_model(), loader, config, scratch=tmp_path, title="test")
    assert result.losses[0] > 3.5
    # The first id of a document is random among 38; the other eleven can be known.
    assert result.losses[-1] < 0.8


PROGRAM = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from ayllu.data.tokens.loader import Loader
from ayllu.data.tokens.pack import TokenizedDocument, Tokens, write_tokens
from ayllu.model.config import ModelConfig
from ayllu.model.transformer import Transformer
from ayllu.train.loop import TrainConfig, train

folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
if not (folder / "tokens.json").exists():
    starts = torch.randint(2, 40, (300,), generator=torch.Generator().manual_seed(0)).tolist()
    pieces = [TokenizedDocument(ids=[1, *range(s, s + 12)]) for s in starts]
    write_tokens(folder, {"a": pieces}, length=32, vocabulary=64, bos=1, pad=0)
model = Transformer(ModelConfig(vocabulary=64, layers=2, width=32, heads=2, kv_heads=1, feed_forward=48, tied=True))
model.initialise(0)

class Held(Loader):
    def batch(self, first, size):
        if first == size * int(sys.argv[2]):
            (folder / "held").touch()
            while (folder / "held").exists():
                time.sleep(0.01)
        return super().batch(first, size)

config = TrainConfig(steps=100, batch=8, precision="float32", warmup=10, checkpoint_seconds=0.05)
result = train(model, Held(Tokens(folder), seed=0), config, scratch=folder / "scratch", title="t")
torch.save({"losses": result.losses, "model": model.state_dict()}, folder / "end.pt")
"""


def run(folder: Path, program: Path, *, hold: int = -1, kill: signal.Signals = signal.SIGKILL) -> int:
    """Runs the program; with `hold` it waits before that step, with a checkpoint behind it, until it has the signal."""
    log = program.with_suffix(".log")
    process = jobs.start(program, str(folder), str(hold), log=log)
    if hold >= 0:
        while not ((folder / "held").exists() and list((folder / "scratch" / "checkpoints").glob("step-*"))):
            assert process.exitcode is None, log.read_text()
            time.sleep(0.01)
        assert process.pid is not None
        os.kill(process.pid, kill)
        (folder / "held").unlink()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def test_a_killed_run_ends_with_the_bits_of_an_unbroken_one(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    assert run(tmp_path / "unbroken", program) == 0
    for hold, kill in ((30, signal.SIGKILL), (60, signal.SIGTERM), (90, signal.SIGKILL)):
        assert run(tmp_path / "broken", program, hold=hold, kill=kill) != 0
        assert not (tmp_path / "broken" / "end.pt").exists()
    assert run(tmp_path / "broken", program) == 0
    one, two = (torch.load(tmp_path / name / "end.pt", weights_only=True) for name in ("unbroken", "broken"))
    assert one["losses"] == two["losses"]
    assert len(one["losses"]) == 100
    assert all(torch.equal(one["model"][name], two["model"][name]) for name in one["model"])


def test_compiled_runs_have_the_same_bits(tmp_path: Path) -> None:
    need(compiler_available(), "no C++ compiler, so nothing is compiled here")
    program = tmp_path / "program.py"
    changed = PROGRAM.replace("set_num_threads(1)", "set_num_threads(2)")
    program.write_text(changed.replace('steps=100, batch=8, precision="float32"', "compiled=True, steps=12, batch=64"))
    ends = []
    for name in ("one", "two"):
        assert run(tmp_path / name, program) == 0
        ends.append(torch.load(tmp_path / name / "end.pt", weights_only=True))
    assert ends[0]["losses"] == ends[1]["losses"]
    assert all(torch.equal(ends[0]["model"][name], ends[1]["model"][name]) for name in ends[0]["model"])


def test_training_needs_no_gpu_package(tmp_path: Path) -> None:
    """Whole steps, a checkpoint and text, where every import of a GPU's package fails."""
    program = """
import importlib.abc, sys

class NoGpu(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("triton", "nvidia", "pynvml", "cuda", "cupy", "flash_attn", "transformer_engine"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoGpu())
from pathlib import Path
from support.programs.layouts import model, tokens
from ayllu.data.tokens.loader import Loader
from ayllu.model.generate import generate
from ayllu.model.sampling import Sampling
from ayllu.train.loop import TrainConfig, train

folder = Path(sys.argv[1])
config = TrainConfig(steps=3, batch=4, warmup=1, precision="bf16", checkpoint_seconds=0)
result = train(model(True), Loader(tokens(folder / "tokens"), seed=0), config, scratch=folder, title="no gpu")
print(len(result.losses), len(list(generate(result.model, [1, 5, 6], tokens=4, stop=frozenset(), sampling=Sampling()))))
"""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "4"]
