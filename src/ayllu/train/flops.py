"""The one place that counts floating-point operations, and what is derived from them."""

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


def tokens_per_second(tokens: int, seconds: float) -> float:
    """Ids that go in, over the time that passed; 0 where no time did."""
    return tokens / seconds if seconds > 0 else 0.0


def utilisation(config: ModelConfig, length: int, speed: float, peak: float) -> float:
    """MFU: operations that the model needs at `speed` tokens/s, over `peak` FLOP/s of all devices together.

    PaLM, appendix B: recomputed activations do not count.
    """
    return training_flops(config, length) * speed / peak


def energy_kwh(seconds: float, devices: int, watts: float) -> float:
    """Energy of `devices` that draw `watts` each for `seconds`."""
    return seconds * devices * watts / 3.6e6
