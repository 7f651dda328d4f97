"""LoRA: starts at the base, merges exactly, and many adapters share one base."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from safetensors import safe_open

from ayllu.data.tokens.loader import Batch, Loader
from ayllu.model.files import hf
from ayllu.model.transformer import Transformer
from ayllu.train.loop import TrainConfig, train
from ayllu.train.lora import LoraConfig, LoraLinear, attach, detach, disabled, load_adapter, merged, save_adapter
from support.models import TINY, sharp_model
from support.programs.layouts import tokens

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


def trained(seed: int, config: LoraConfig | None = None) -> Transformer:
    """An adapter that says something."""
    model = attach(sharp_model(), config or LoraConfig(rank=4, alpha=6.0), seed=seed)
    for module in model.modules():
        if isinstance(module, LoraLinear):
            module.b.data.normal_(std=0.05, generator=torch.Generator().manual_seed(seed))
    return model


def test_it_starts_at_the_base_and_trains_nothing_else() -> None:
    model = attach(sharp_model(), LoraConfig(rank=4))
    assert torch.equal(model(IDS), sharp_model()(IDS))
    free = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(free) == TINY.layers * 7 * 2
    assert all(name.endswith((".a", ".b")) for name in free)
    with pytest.raises(ValueError, match="already"):
        attach(model, LoraConfig())


@torch.no_grad()
def test_merging_is_exact() -> None:
    model = trained(1)
    expected = {
        name: module.weight + 1.5 * (module.b @ module.a)
        for name, module in model.named_modules()
        if isinstance(module, LoraLinear)
    }
    beside = model(IDS)
    copy = merged(model, torch.float32)
    torch.testing.assert_close(copy(IDS), beside, rtol=0, atol=2e-5)
    assert torch.equal(model(IDS), beside), "the adapter is still there and unchanged"
    assert copy.embedding.weight is model.embedding.weight, "what has no adapter is shared"
    plain = detach(model, merge=True)
    assert torch.equal(plain(IDS), copy(IDS))
    for name, weight in expected.items():
        assert torch.equal(plain.get_submodule(name).weight, weight)
    assert plain.state_dict().keys() == sharp_model().state_dict().keys()


@torch.no_grad()
def test_detaching_gives_the_base_back_to_the_bit() -> None:
    model = detach(trained(1), merge=False)
    base = sharp_model()
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), base.state_dict().values(), strict=True))
    assert all(weight.requires_grad for weight in model.parameters())


@torch.no_grad()
def test_disabled_is_the_base() -> None:
    model = trained(1)
    beside = model(IDS)
    with disabled(model):
        assert torch.equal(model(IDS), sharp_model()(IDS))
    assert torch.equal(model(IDS), beside)
    with pytest.raises(ValueError, match="no adapter"), disabled(sharp_model()):
        pass


@torch.no_grad()
def test_several_adapters_from_one_base(tmp_path: Path) -> None:
    answers = []
    for seed in (1, 2):
        config = LoraConfig(rank=2 * seed, alpha=5.0, matrices=("wq", "wv", "w2"))
        model = trained(seed, config)
        folder = tmp_path / str(seed)
        folder.mkdir()
        save_adapter(folder, model, config)
        answers.append(model(IDS))
    base = sharp_model()
    for seed, answer in zip((1, 2), answers, strict=True):
        config = load_adapter(tmp_path / str(seed), base)
        assert config.rank == 2 * seed
        assert torch.equal(base(IDS), answer)
        detach(base, merge=False)
    assert torch.equal(base(IDS), sharp_model()(IDS))
    assert not torch.allclose(answers[0], answers[1], atol=1e-3)


@torch.no_grad()
def test_an_adapter_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    config = LoraConfig(rank=2)
    save_adapter(tmp_path, trained(1, config), config)
    wider = sharp_model(replace(TINY, feed_forward=96))
    with pytest.raises(ValueError, match="does not fit"):
        load_adapter(tmp_path, wider)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_an_adapter_always_has_a_scale(alpha: float, tmp_path: Path) -> None:
    """llama.cpp applies one without alpha, or with 0, unscaled."""
    with pytest.raises(ValueError, match="alpha"):
        LoraConfig(rank=2, alpha=alpha)
    config = LoraConfig(rank=2)
    save_adapter(tmp_path, trained(1, config), config)
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (written["lora_alpha"], written["use_rslora"]) == (config.alpha, False)


@torch.no_grad()
def test_peft_computes_the_same(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    config = LoraConfig(rank=4, alpha=6.0)
    model = trained(1, config)
    (tmp_path / "base").mkdir()
    hf.save(tmp_path / "base", sharp_model())
    save_adapter(tmp_path, model, config)
    theirs = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), tmp_path)
    torch.testing.assert_close(theirs(IDS).logits, model(IDS), rtol=0, atol=1e-4)


class Cut(Loader):
    """Data that breaks off, as a kill does."""

    until = 10**9

    def batch(self, first: int, size: int) -> Batch:
        if first >= self.until:
            raise KeyboardInterrupt
        return super().batch(first, size)


def test_checkpoints_hold_what_is_trained_and_a_run_goes_on_from_them(tmp_path: Path) -> None:
    data = tokens(tmp_path / "tokens")
    config = TrainConfig(steps=12, batch=4, warmup=2, precision="float32", checkpoint_seconds=0.0)
    ends = {}
    for name in ("whole", "cut"):
        source = Cut(data, seed=0)
        if name == "cut":
            source.until = 4 * 7
            with pytest.raises(KeyboardInterrupt):
                train(attach(sharp_model(), LoraConfig(rank=4)), source, config, scratch=tmp_path / name, title=name)
            source.until = 10**9
        model = attach(sharp_model(), LoraConfig(rank=4))
        ends[name] = train(model, source, config, scratch=tmp_path / name, title=name).losses, model(IDS)
    assert ends["whole"][0] == ends["cut"][0]
    assert torch.equal(ends["whole"][1], ends["cut"][1])
    held = {
        name
        for path in (tmp_path / "cut").rglob("*.safetensors")
        for name in safe_open(path, "pt").keys()  # noqa: SIM118
        if name.startswith("model.")
    }
    assert len(held) == TINY.layers * 7 * 2


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="rank"):
        LoraConfig(rank=0)
    with pytest.raises(ValueError, match="matrices"):
        LoraConfig(matrices=("wq", "nose"))
