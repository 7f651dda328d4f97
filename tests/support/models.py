"""The tiny models of all tests, and whether two models are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ayllu.model.config import ModelConfig, RopeScaling
from ayllu.model.files import hf
from ayllu.model.transformer import Transformer
from ayllu.text.tokenizer import Tokenizer
from support.texts import ENGLISH, SENTENCES

TINY = ModelConfig(vocabulary=600, layers=2, width=32, heads=4, kv_heads=2, feed_forward=64, context=256, tied=True)
WIDER = ModelConfig(vocabulary=600, layers=2, width=64, heads=4, kv_heads=2, feed_forward=160, context=256, tied=True)
SHAPES = {
    "tied": WIDER,
    "untied": replace(WIDER, tied=False),
    "scaled": replace(WIDER, rope_scaling=RopeScaling(original_context=32), tied=False),
    "wide heads": replace(WIDER, head_width=32, rope_theta=10_000.0, norm_epsilon=1e-6),
}
"""What file formats must tell apart; wide enough for blocks of 32 weights."""


def tiny_model(config: ModelConfig = TINY, *, seed: int = 0) -> Transformer:
    """A random model whose norms are not all one, so that a norm in the wrong place shows."""
    model = Transformer(config)
    model.initialise(seed)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            parameter.data.uniform_(0.5, 1.5, generator=generator)
    return model


def sharp_model(config: ModelConfig = TINY, *, seed: int = 0) -> Transformer:
    """A tiny model that prefers some ids to others: a fresh one finds all nearly alike, which hides errors."""
    model = tiny_model(config, seed=seed)
    model.output.weight.data.mul_(20)
    return model


def tiny_tokenizer(size: int = 600) -> Tokenizer:
    """What a few sentences teach, and Llama 3's special ids behind it."""
    return Tokenizer.learn([*ENGLISH, *SENTENCES] * 20, size)


def save_tiny_model(folder: Path, config: ModelConfig = TINY, *, dtype: torch.dtype = torch.float32) -> Path:
    """`tiny_model(config)` with the tiny tokenizer in a Hugging Face folder; gives the folder back."""
    tokenizer = tiny_tokenizer(config.vocabulary)
    hf.save(folder, tiny_model(config), dtype=dtype, bos=tokenizer.bos, stops=sorted(tokenizer.stops))
    tokenizer.save(folder)
    return folder


def same_bits(one: Transformer, other: Transformer) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return one.config == other.config and a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
