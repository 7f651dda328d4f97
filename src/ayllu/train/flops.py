"""The one place that counts floating-point operations."""

from __future__ import annotations

from ayllu.model.config import ModelConfig


def forward_flops(config: ModelConfig, length: int) -> int:
    """Operations per token of a forward pass over rows of `length` tokens: 2 per matrix parameter, and attention.

    Scores and weighted values take 2 * 2 * length * H * h each layer, counted over the whole square as in
    PaLM (arXiv:2204.02311, appendix B), causal or not. The embedding look-up counts nothing.
    """
    attention = 4 * length * config.heads * config.head_width * config.layers
    return 2 * config.matrix_parameters + attention


def training_flops(config: ModelConfig, length: int) -> int:
    """Operations per token of a training step: the backward pass takes twice the forward pass."""
    return 3 * forward_flops(config, length)
