"""Published Llama shapes by name. Sources: the `config.json` of each model's release by Meta."""

from __future__ import annotations

from ayllu.model.config import ModelConfig, RopeScaling

PRESETS: dict[str, ModelConfig] = {
    "llama-3.2-1b": ModelConfig(
        vocabulary=128_256,
        layers=16,
        width=2048,
        heads=32,
        kv_heads=8,
        feed_forward=8192,
        context=131_072,
        rope_scaling=RopeScaling(factor=32.0),
        tied=True,
    ),
    "llama-3.2-3b": ModelConfig(
        vocabulary=128_256,
        layers=28,
        width=3072,
        heads=24,
        kv_heads=8,
        feed_forward=8192,
        context=131_072,
        rope_scaling=RopeScaling(factor=32.0),
        tied=True,
    ),
    "llama-3.1-8b": ModelConfig(
        vocabulary=128_256,
        layers=32,
        width=4096,
        heads=32,
        kv_heads=8,
        feed_forward=14_336,
        context=131_072,
        rope_scaling=RopeScaling(),
    ),
    "llama-3.1-70b": ModelConfig(
        vocabulary=128_256,
        layers=80,
        width=8192,
        heads=64,
        kv_heads=8,
        feed_forward=28_672,
        context=131_072,
        rope_scaling=RopeScaling(),
    ),
    "llama-3.1-405b": ModelConfig(
        vocabulary=128_256,
        layers=126,
        width=16_384,
        heads=128,
        kv_heads=8,
        feed_forward=53_248,
        context=131_072,
        rope_scaling=RopeScaling(),
    ),
}
"""Name to configuration: `ModelConfig.parameters` gives 1,235,814,400; 3,212,749,824; 8,030,261,248; 70,553,706,496 and
405,853,388,800, the published counts."""
