"""Rotary positions, with Llama 3.1's scaling.

Shapes: T time, h head width. Heads rotate in halves (feature i with feature i + h/2), the order of Hugging Face files;
`ayllu.model.files` permutes rows for formats that rotate neighbours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

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


def rotation(config: ModelConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (..., T, h/2) in float32, for `positions`, (T) or (B, 1, T)."""
    frequencies = torch.tensor(inverse_frequencies(config), dtype=torch.float32, device=positions.device)
    angles = positions.float()[..., None] * frequencies
    return angles.cos(), angles.sin()


def rotate(x_BHTh: Tensor, cos_Th: Tensor, sin_Th: Tensor) -> Tensor:
    """Turn each head's features by their position's angles; computed in float32, returned in the input's type."""
    left, right = x_BHTh.float().chunk(2, dim=-1)
    return torch.cat((left * cos_Th - right * sin_Th, right * cos_Th + left * sin_Th), dim=-1).type_as(x_BHTh)
