"""Small models of several shapes, and whether two are the same."""

from __future__ import annotations

from dataclasses import replace

import torch

from ayllu.model.config import ModelConfig, RopeScaling
from ayllu.model.transformer import Transformer

TEXT = (
    "The llama walks over the hills. She carries wool and salt, and nobody hurries her!\n\nIn 1781 there were 24 "
    "llamas; the herd's oldest was Ñusta, who'd seen the sea.  Two   spaces, tabs\tand code: for i in range(10): pass\n"
)
SMALL = ModelConfig(vocabulary=600, layers=2, width=64, heads=4, kv_heads=2, feed_forward=160, context=256, tied=True)
SHAPES = {
    "tied": SMALL,
    "untied": replace(SMALL, tied=False),
    "scaled": replace(SMALL, rope_scaling=RopeScaling(original_context=32), tied=False),
    "wide heads": replace(SMALL, head_width=32, rope_theta=10_000.0, norm_epsilon=1e-6),
}


def random_model(config: ModelConfig, seed: int = 0) -> Transformer:
    """Norms are drawn too, so that a norm in the wrong place shows."""
    model = Transformer(config)
    model.initialise(seed)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            parameter.data.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def same_bits(one: Transformer, other: Transformer) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return one.config == other.config and a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
