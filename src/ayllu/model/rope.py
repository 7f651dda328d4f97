"""Rotary positions, with Llama 3.1's scaling.

Shapes: T time, h head width. Heads rotate in halves (feature i with feature i + h/2), the order of Hugging Face files;
`ayllu.model.files` permutes rows for formats that rotate neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ayllu.model.config import ModelConfig
from ayllu.model.frequencies import inverse_frequencies


def rotation(config: ModelConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (..., T, h/2) in float32, for `positions`, (T) or (B, 1, T)."""
    frequencies = torch.tensor(inverse_frequencies(config), dtype=torch.float32, device=positions.device)
    angles = positions.float()[..., None] * frequencies
    return angles.cos(), angles.sin()


def rotate(x_BHTh: Tensor, cos_Th: Tensor, sin_Th: Tensor) -> Tensor:
    """Turn each head's features by their position's angles; computed in float32, returned in the input's type."""
    left, right = x_BHTh.float().chunk(2, dim=-1)
    return torch.cat((left * cos_Th - right * sin_Th, right * cos_Th + left * sin_Th), dim=-1).type_as(x_BHTh)
