"""The training engine: right gradients, the same bits after a kill, nothing broken by a bad batch."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ayllu.data.tokens.loader import Batch, Loader
from ayllu.data.tokens.pack import TokenizedDocument, Tokens, write_tokens
from ayllu.model.config import ModelConfig
from ayllu.model.transformer import Transformer
from ayllu.train.budget import LADDER, TOKENS_PER_PARAMETER, BudgetPlan, choose_shape
from ayllu.train.distributed.layout import Layout
from ayllu.train.distributed.parallel_model import ParallelModel
from ayllu.train.flops import energy_kwh, forward_flops, tokens_per_second, training_flops, utilisation
from ayllu.train.loop import Execution, TrainConfig, train
from ayllu.train.machine import compiler_available
from ayllu.train.objectives import next_token as objective
from ayllu.train.objectives.next_token import next_token_loss, reference_loss
from ayllu.train.optimizer import Optimizer, OptimizerConfig, orthogonalise
from ayllu.train.schedule import lr_scale
from ayllu.train.step import train_step
from support.programs import PROGRAMS

CONFIG = ModelConfig(vocabulary=64, layers=2, width=32, heads=2, kv_heads=1, feed_forward=48, context=64, tied=True)


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Loader:
    folder = tmp_path_factory.mktemp("tokens")
    # Counting upwards from a random start: something that can be learnt.
    starts = torch.randint(2, 40, (300,), generator=torch.Generator().manual_seed(0)).tolist()
    pieces = [TokenizedDocument(ids=[1, *range(s, s + 12)]) for s in starts]
    write_tokens(folder, {"a": pieces}, length=32, vocabulary=64, bos=1, pad=0)
    return Loader(Tokens(folder), seed=0)


def fresh(seed: int = 0) -> Transformer:
    model = Transformer(CONFIG)
    model.initialise(seed)
    return model


@pytest.mark.parametrize("chunk", [1 << 24, 64 * 7])
def test_chunked_loss_and_gradients_are_those_of_torch(
    loader: Loader, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(objective, "CHUNK_LOGITS", chunk)
    ours, theirs = fresh(), fresh()
    batch = loader.batch(0, 4)
    loss, expected = next_token_loss(ours, batch, torch.float32), reference_loss(theirs, batch)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    (loss * 0.5).backward()
    (expected * 0.5).backward()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_a_model_learns(loader: Loader, tmp_path: Path) -> None:
    config = TrainConfig(steps=200, batch=8, warmup=5, precision="float32")
    result = train(fresh(), loader, config, scratch=tmp_path, title="test")
    assert result.losses[0] > 3.5
    # The first id of a document is random among 38; the other eleven can be known.
    assert result.losses[-1] < 0.8


def test_muon_updates_have_the_promised_size() -> None:
    matrices = torch.randn(3, 40, 24, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices, 5).float())
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_stacking_matrices_changes_no_update(loader: Loader) -> None:
    model = fresh()
    optimizer = Optimizer(dict(model.named_parameters()), OptimizerConfig())
    next_token_loss(model, loader.batch(0, 4), torch.float32).backward()
    weight = model.blocks[1].attention.wq.weight  # type: ignore[union-attr]
    before, gradient = weight.detach().clone(), weight.grad.clone()  # type: ignore[union-attr,operator]
    optimizer.step()
    config = optimizer.config
    momentum = (1 - config.muon_momentum) * gradient
    update = orthogonalise((gradient.lerp(momentum, config.muon_momentum))[None], 5)[0].float()
    expected = before * (1 - config.muon_lr * config.weight_decay) - config.muon_lr * 0.2 * 32**0.5 * update
    torch.testing.assert_close(weight, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("broken", [math.inf, math.nan])
def test_a_step_without_a_number_changes_no_bit(loader: Loader, broken: float) -> None:
    """OLMo-core's SkipStepAdamW writes NaN into every parameter here: 0 * NaN is NaN."""
    model = fresh()
    factor = 1.0

    def loss(model: Transformer, batch: Batch, dtype: torch.dtype) -> torch.Tensor:
        return next_token_loss(model, batch, dtype) * factor

    parallel = ParallelModel(model, None, objective=loss, dtype=torch.float32)
    optimizer = Optimizer(parallel.weights(), OptimizerConfig())
    train_step(parallel, optimizer, loader.batch(0, 4), 0.1)
    state = {**{n: w.detach() for n, w in parallel.weights().items()}, **optimizer.state()}
    before = {name: value.clone() for name, value in state.items()}
    factor = broken
    assert train_step(parallel, optimizer, loader.batch(4, 4), 0.1).skipped
    assert all(torch.equal(before[name], value) for name, value in state.items())
    factor = 1.0
    assert math.isfinite(train_step(parallel, optimizer, loader.batch(8, 4), 0.1).loss)


PROGRAM = """
import sys, json
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
config = TrainConfig(steps=250, batch=8, warmup=10, checkpoint_seconds=0.05)
result = train(model, Loader(Tokens(folder), seed=0), config, scratch=folder / "scratch", title="t")
torch.save({"losses": result.losses, "model": model.state_dict()}, folder / "end.pt")
"""


def run(folder: Path, program: Path, *, kill: int | None) -> int:
    process = subprocess.Popen([sys.executable, str(program), str(folder)], stderr=subprocess.PIPE, text=True)
    if kill is not None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if len(list((folder / "scratch" / "checkpoints").glob("step-*"))) >= 1:
                time.sleep(0.15 * kill)
                os.kill(process.pid, signal.SIGKILL if kill != 2 else signal.SIGTERM)
                break
            time.sleep(0.01)
    process.communicate()
    return process.returncode


def test_a_killed_run_ends_with_the_bits_of_an_unbroken_one(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    assert run(tmp_path / "unbroken", program, kill=None) == 0
    killed = sum(run(tmp_path / "broken", program, kill=kill) != 0 for kill in (1, 2, 3))
    assert killed >= 2
    assert run(tmp_path / "broken", program, kill=None) == 0
    one, two = (torch.load(tmp_path / name / "end.pt", weights_only=True) for name in ("unbroken", "broken"))
    assert one["losses"] == two["losses"]
    assert len(one["losses"]) == 250
    assert all(torch.equal(one["model"][name], two["model"][name]) for name in one["model"])


@pytest.mark.skipif(not compiler_available(), reason="no C++ compiler, so nothing is compiled here")
def test_compiled_runs_have_the_same_bits(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    changed = PROGRAM.replace("set_num_threads(1)", "set_num_threads(2)")
    program.write_text(changed.replace("steps=250, batch=8", "compiled=True, steps=40, batch=64"))
    ends = []
    for name in ("one", "two"):
        assert run(tmp_path / name, program, kill=None) == 0
        ends.append(torch.load(tmp_path / name / "end.pt", weights_only=True))
    assert ends[0]["losses"] == ends[1]["losses"]
    assert all(torch.equal(ends[0]["model"][name], ends[1]["model"][name]) for name in ends[0]["model"])


def test_the_rate_rises_and_ends_near_zero() -> None:
    rates = [lr_scale(step, steps=100, warmup=10) for step in range(100)]
    assert max(rates) == pytest.approx(0.91, abs=0.02)
    assert rates[0] < rates[5] < rates[9]
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01)


def test_flops_by_hand() -> None:
    # Per token and layer: q 16*16, k and v 16*8 each, o 16*16, three of 16*40; scores and values 2 * 2 * 10 * 16.
    config = ModelConfig(vocabulary=100, layers=2, width=16, heads=4, kv_heads=2, feed_forward=40)
    matrices = 2 * (256 + 128 + 128 + 256 + 3 * 640) + 1600
    assert forward_flops(config, 10) == 2 * matrices + 2 * 4 * 10 * 16
    assert training_flops(config, 10) == 3 * forward_flops(config, 10)


def test_rates_and_energy_by_hand() -> None:
    config = ModelConfig(vocabulary=100, layers=2, width=16, heads=4, kv_heads=2, feed_forward=40)
    assert tokens_per_second(3000, 1.5) == 2000
    assert tokens_per_second(3000, 0.0) == 0
    # As above, 6,976 matrix parameters and 1,280 operations of attention: 3 * (2 * 6,976 + 1,280) = 45,696.
    assert training_flops(config, 10) == 45_696
    assert utilisation(config, 10, 1000, 1e9) == pytest.approx(0.045696)
    # 1,000 devices of 700 W for an hour.
    assert energy_kwh(3600, 1000, 700) == pytest.approx(700)


def test_more_time_never_buys_a_smaller_model() -> None:
    sizes = [
        choose_shape(rate=2e11, seconds=60 * minutes, vocabulary=4096, length=256).parameters
        for minutes in (0.1, 1, 10, 100, 1000, 10_000)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_the_chosen_model_sees_its_share_of_tokens() -> None:
    for minutes in (10, 100, 1000):
        config = choose_shape(rate=2e11, seconds=60 * minutes, vocabulary=4096, length=256)
        tokens = 2e11 * 60 * minutes / training_flops(config, 256)
        assert tokens >= TOKENS_PER_PARAMETER * config.matrix_parameters or config.layers == LADDER[0][0]


def test_a_plan_survives_being_written(tmp_path: Path) -> None:
    plan = BudgetPlan(
        model=CONFIG,
        train=TrainConfig(steps=10, batch=2, warmup=1, compiled=True),
        tokens_per_second=5.0,
        seconds=3.0,
        bits_per_byte=None,
    )
    plan.write(tmp_path / "plan.json")
    assert BudgetPlan.read(tmp_path / "plan.json") == plan


def test_a_layout_counts_its_devices() -> None:
    assert Layout(tp=8, pp=16, dp_shard=128).devices == 16_384
    with pytest.raises(ValueError, match="tp is 0"):
        Layout(tp=0)


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
from ayllu.model.generate import Sampling, generate
from ayllu.train.loop import TrainConfig, train

folder = Path(sys.argv[1])
config = TrainConfig(steps=3, batch=4, warmup=1, precision="bf16", checkpoint_seconds=0)
result = train(model(True), Loader(tokens(folder / "tokens"), seed=0), config, scratch=folder, title="no gpu")
print(len(result.losses), len(list(generate(result.model, [1, 5, 6], tokens=4, stop=frozenset(), sampling=Sampling()))))
"""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(PROGRAMS.parent.parent)}
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "4"]


def test_tensorboard_shows_what_the_metrics_say(loader: Loader, tmp_path: Path) -> None:
    config = TrainConfig(steps=5, batch=4, warmup=1, precision="float32")
    result = train(fresh(), loader, config, scratch=tmp_path, title="test", execution=Execution(logs=tmp_path / "logs"))
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    shown = events.Scalars("loss")
    assert [event.step for event in shown] == [1, 2, 3, 4, 5]
    assert [event.value for event in shown] == pytest.approx(result.losses)
    assert {"norm", "rate", "tokens_per_second", "mfu"} <= set(events.Tags()["scalars"])
    assert (tmp_path / "logs" / "curves.png").is_file()
