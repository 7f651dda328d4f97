"""On a GPU: the numbers of the CPU, with and without compilation, in 8 bits, and the same bits after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ayllu.data.tokens.loader import Batch, Loader
from ayllu.model.config import ModelConfig
from ayllu.model.files import hf
from ayllu.model.sample import sample
from ayllu.model.transformer import Transformer
from ayllu.train.distributed.layout import Layout
from ayllu.train.distributed.parallel_model import ParallelModel
from ayllu.train.loop import Execution, TrainConfig, train
from ayllu.train.objectives.next_token import next_token_loss
from support.programs.layouts import tokens
from support.training.objectives import log_softmax_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and there is none here")

CONFIG = ModelConfig(vocabulary=64, layers=2, width=128, heads=4, kv_heads=2, feed_forward=192, context=512)


def fresh(config: ModelConfig = CONFIG) -> Transformer:
    model = Transformer(config)
    model.initialise(0)
    return model


def batch(rows: int = 4, length: int = 256, vocabulary: int = 64) -> Batch:
    """Rows of several documents each, cut at random."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(2, vocabulary, (rows, length + 1), generator=generator)
    documents = torch.cumsum(torch.rand(rows, length, generator=generator) < 0.02, 1)
    return Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), documents)


def gradients(given: Batch, dtype: torch.dtype, *, gpu: bool, compiled: bool = False) -> tuple[float, dict]:
    """Loss and gradients of one batch."""
    model = fresh()
    if gpu:
        parallel = ParallelModel(model, None, dtype=dtype, compiled=compiled)
        loss = parallel.backward(parallel.shard_batch(given), 1.0)
    else:
        loss = next_token_loss(model, given, dtype)
        loss.backward()
    return loss.item(), {name: weight.grad.cpu().float() for name, weight in model.named_parameters()}  # type: ignore[union-attr]


@pytest.mark.parametrize("with_documents", [True, False])
@pytest.mark.parametrize(("dtype", "compiled", "near"), [("float32", False, 1e-4), ("bfloat16", True, 0.03)])
def test_loss_and_gradients_are_those_of_the_cpu(with_documents: bool, dtype: str, compiled: bool, near: float) -> None:
    given = batch() if with_documents else Batch(batch().ids_BT, batch().targets_BT, None)
    exact, expected = gradients(given, torch.float32, gpu=False)
    loss, found = gradients(given, getattr(torch, dtype), gpu=True, compiled=compiled)
    assert loss == pytest.approx(exact, rel=near)
    for name, value in expected.items():
        assert (found[name] - value).norm() < near * value.norm(), name


def test_masked_attention_holds_no_scores() -> None:
    """Grouped heads with a mask: torch alone would hold all of them, 2 GiB and more here."""
    config = ModelConfig(vocabulary=64, layers=1, width=512, heads=8, kv_heads=2, feed_forward=512, context=8192)
    given = batch(rows=1, length=8192)
    parallel = ParallelModel(fresh(config), None, dtype=torch.bfloat16)
    placed = parallel.shard_batch(given)
    torch.cuda.reset_peak_memory_stats()
    parallel.backward(placed, 1.0)
    assert torch.cuda.max_memory_allocated() < 1.5 * 2**30


@pytest.mark.parametrize(("precision", "compiled"), [("bf16", True), ("float8", False), ("float8", True)])
def test_a_run_learns(tmp_path: Path, precision: str, compiled: bool) -> None:
    model = fresh()
    source = Loader(tokens(tmp_path / "tokens"), seed=0)
    plan = TrainConfig(steps=60, batch=16, warmup=5, compiled=compiled)
    execution = Execution(layout=Layout(precision=precision, micro_batch=16))
    losses = train(model, source, plan, scratch=tmp_path, title="t", execution=execution).losses
    assert losses[0] > 3.5
    assert losses[-1] < 1.2


class Cut(Loader):
    """Data that breaks off, as a kill does."""

    until = 10**9

    def batch(self, first: int, size: int) -> Batch:
        if first >= self.until:
            raise KeyboardInterrupt
        return super().batch(first, size)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_run_that_goes_on_ends_with_the_same_bits(tmp_path: Path, compiled: bool) -> None:
    data = tokens(tmp_path / "tokens")
    plan = TrainConfig(steps=30, batch=8, warmup=5, compiled=compiled, checkpoint_seconds=0.0)
    ends = {}
    for name in ("whole", "cut"):
        source = Cut(data, seed=0)
        if name == "cut":
            source.until = 8 * 20
            with pytest.raises(KeyboardInterrupt):
                train(fresh(), source, plan, scratch=tmp_path / name, title=name)
            source.until = 10**9
        model = fresh()
        result = train(model, source, plan, scratch=tmp_path / name, title=name)
        ends[name] = result.losses, {key: weight.detach().cpu() for key, weight in model.named_parameters()}
    assert ends["whole"][0] == ends["cut"][0]
    assert all(torch.equal(ends["whole"][1][key], ends["cut"][1][key]) for key in ends["whole"][1])


def test_what_was_trained_can_be_saved_and_read(tmp_path: Path) -> None:
    model = fresh()
    plan = TrainConfig(steps=2, batch=8, warmup=1)
    train(model, Loader(tokens(tmp_path / "tokens"), seed=0), plan, scratch=tmp_path, title="t")
    hf.save(tmp_path / "model", model)
    back = hf.load(tmp_path / "model")
    for name, weight in model.named_parameters():
        assert torch.equal(weight.detach().cpu(), dict(back.named_parameters())[name])


def test_samples_are_those_of_the_cpu() -> None:
    prompts = [[5, 6, 7], [9], [11, 12, 13, 14, 15]]
    model = fresh()
    model.embedding.weight.data.mul_(20)
    expected = sample(model, prompts, tokens=12, temperature=0)
    found = sample(model.to("cuda"), prompts, tokens=12, temperature=0)
    assert [[one.ids for one in each] for each in found] == [[one.ids for one in each] for each in expected]
    drawn = sample(model, prompts, tokens=12, seeds=[[1, 2]] * 3)
    model.to("cpu")
    for prompt, each in zip(prompts, drawn, strict=True):
        for one in each:
            exact = log_softmax_of(model, prompt, one.ids)
            torch.testing.assert_close(torch.tensor(one.log_probabilities), exact, rtol=1e-3, atol=1e-3)
