"""A tiny model for the tests of the training engine."""

from __future__ import annotations

from ayllu.model.config import ModelConfig
from ayllu.model.transformer import Transformer

CONFIG = ModelConfig(vocabulary=64, layers=2, width=32, heads=2, kv_heads=1, feed_forward=48, context=64, tied=True)


def fresh_model(seed: int = 0) -> Transformer:
    model = Transformer(CONFIG)
    model.initialise(seed)
    return model
