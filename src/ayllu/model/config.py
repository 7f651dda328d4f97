"""The shape of a Llama 3 transformer, and the published shapes by name."""

from __future__ import annotations

import math
from dataclasses import dataclass

LARGEST = 2**31 - 1
"""Of every number in a shape: file formats and llama.cpp keep them in 32 bits."""
NOT_SUPPORTED = {
    "attention_bias": False,
    "mlp_bias": False,
    "rope_interleaved": False,
    "quantization_config": None,
    "sliding_window": None,
    "hidden_act": "silu",
}
"""Settings of a `config.json` that would change the architecture, each with the only value that ours has."""


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """Llama 3.1's stretch of the rotary frequencies for contexts longer than those trained on.

    Source: `rope_type: llama3` in the published configurations; the formula is in `ayllu.model.rope`.
    """

    factor: float = 8.0
    """Low frequencies are divided by this."""
    low_frequency_factor: float = 1.0
    """Wavelengths above `original_context / low_frequency_factor` count as low frequencies."""
    high_frequency_factor: float = 4.0
    """Wavelengths below `original_context / high_frequency_factor` stay as they are."""
    original_context: int = 8192
    """Context length, in tokens, that the unscaled model was trained with."""

    def __post_init__(self) -> None:
        for name in ("factor", "low_frequency_factor", "high_frequency_factor", "original_context"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"scaling of rotary positions: {name} is {getattr(self, name)}; it must be above 0")
        if self.high_frequency_factor <= self.low_frequency_factor:
            raise ValueError(
                f"scaling of rotary positions: high_frequency_factor ({self.high_frequency_factor}) must be above "
                f"low_frequency_factor ({self.low_frequency_factor})"
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of a transformer. Raises ValueError where the numbers cannot make a model."""

    vocabulary: int
    """V: rows of the embedding."""
    layers: int
    """L: transformer blocks."""
    width: int
    """D: features of the residual stream."""
    heads: int
    """H: query heads."""
    kv_heads: int
    """K: key/value heads; each serves H/K query heads."""
    feed_forward: int
    """F: features inside SwiGLU."""
    head_width: int = 0
    """h: features of one head; 0 means D/H."""
    context: int = 8192
    """Longest sequence, in tokens."""
    rope_theta: float = 500_000.0
    """Base of the rotary frequencies (Llama 3 herd of models, arXiv:2407.21783, section 3.2)."""
    rope_scaling: RopeScaling | None = None
    norm_epsilon: float = 1e-5
    tied: bool = False
    """Whether the output projection is the embedding."""

    def __post_init__(self) -> None:
        for name in ("vocabulary", "layers", "width", "heads", "kv_heads", "feed_forward", "context"):
            if not 1 <= getattr(self, name) <= LARGEST:
                raise ValueError(
                    f"model configuration: {name} is {getattr(self, name)}; it must be at least 1 and fit into 32 bits"
                )
        # NaN fails every comparison.
        if not 1 <= self.rope_theta < math.inf:
            raise ValueError(f"model configuration: rope_theta is {self.rope_theta}; it must be a number from 1 on")
        if not 0 <= self.norm_epsilon < math.inf:
            raise ValueError(f"model configuration: norm_epsilon is {self.norm_epsilon}; it must be 0 or more")
        if self.heads % self.kv_heads:
            raise ValueError(
                f"model configuration: heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})"
            )
        if self.head_width == 0:
            if self.width % self.heads:
                raise ValueError(
                    f"model configuration: width ({self.width}) must be a multiple of heads ({self.heads})"
                )
            object.__setattr__(self, "head_width", self.width // self.heads)
        if self.head_width % 2 or not 1 <= self.head_width <= LARGEST:
            raise ValueError(f"model configuration: head_width ({self.head_width}) must be even for rotary positions")

    @property
    def parameters(self) -> int:
        """All parameters, a tied embedding counted once."""
        embeddings = self.vocabulary * self.width * (1 if self.tied else 2)
        return embeddings + self.layers * self.block_parameters + self.width

    @property
    def block_parameters(self) -> int:
        """Parameters of one block: attention, feed-forward and two norms."""
        attention = self.width * self.head_width * 2 * (self.heads + self.kv_heads)
        return attention + 3 * self.width * self.feed_forward + 2 * self.width

    @property
    def matrix_parameters(self) -> int:
        """Parameters that each token is multiplied with: all but the norms and the embedding look-up.

        The output projection counts whether it is tied or not.
        """
        return self.layers * (self.block_parameters - 2 * self.width) + self.vocabulary * self.width


def llama_feed_forward(width: int, *, multiple_of: int = 64, multiplier: float = 1.0) -> int:
    """Meta's rule for F: 2/3 of 4D, times `multiplier`, rounded up to `multiple_of`.

    Source: `FeedForward` in meta-llama/llama3, llama/model.py.
    """
    return multiple_of * math.ceil(int(multiplier * int(2 * 4 * width / 3)) / multiple_of)
