"""How fast rotary positions turn, with Llama 3.1's scaling. Knows nothing of tensors."""

from __future__ import annotations

import math

from ayllu.model.config import ModelConfig


def inverse_frequencies(config: ModelConfig) -> list[float]:
    """Angle per position of each pair of features: theta^(-2i/h), i < h/2 (RoFormer, arXiv:2104.09864).

    With scaling, wavelengths longer than `original_context / low_frequency_factor` are stretched by `factor`, those
    shorter than `original_context / high_frequency_factor` stay, and those between are blended linearly in frequency
    (`apply_scaling` in meta-llama/llama-models).
    """
    plain = [config.rope_theta ** (-2 * i / config.head_width) for i in range(config.head_width // 2)]
    scaling = config.rope_scaling
    if scaling is None:
        return plain
    scaled = []
    for frequency in plain:
        turns = scaling.original_context * frequency / (2 * math.pi)
        blend = (turns - scaling.low_frequency_factor) / (scaling.high_frequency_factor - scaling.low_frequency_factor)
        blend = min(max(blend, 0.0), 1.0)
        scaled.append((1 - blend) * frequency / scaling.factor + blend * frequency)
    return scaled
