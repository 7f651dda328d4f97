"""The shapes that a budget chooses from, and the rule that chooses: without torch, for planning asks it too."""

from __future__ import annotations

from dataclasses import replace

from ayllu.model.config import ModelConfig, llama_feed_forward
from ayllu.train.flops import training_flops

TOKENS_PER_PARAMETER = 4.0
"""What a rung must be able to see to be chosen; measured on everyday English, see docs/log.md."""

LADDER = (
    # layers, width, heads, kv_heads, feed_forward
    (2, 128, 2, 1, 384),
    (3, 128, 2, 1, 384),
    (3, 192, 3, 1, 512),
    (4, 192, 3, 1, 512),
    (4, 256, 4, 2, 704),
    (6, 320, 5, 1, 896),
    (8, 384, 6, 2, 1024),
    (10, 512, 8, 2, 1408),
    (12, 768, 12, 4, 2048),
    (16, 1024, 16, 4, 2816),
    (24, 1536, 24, 8, 4096),
    (32, 2048, 32, 8, 5632),
)
"""Shapes by size. The widths of a rung keep heads of 64 and the feed-forward near Llama's 8/3 of the width."""

BATCH = 16
"""Sequences per step: 4,096 tokens of rows of 256."""
COMPILE_MINUTES = 1.5
"""From this budget on the minute that compiling takes on two cores pays."""
EFFICIENCY = {True: 0.5, False: 0.25}
"""Share of the matmuls' speed that a step of a small model reaches, compiled or not; only chooses the rung."""


def choose_shape(*, rate: float, seconds: float, vocabulary: int, length: int) -> ModelConfig:
    """The largest rung that sees TOKENS_PER_PARAMETER tokens per parameter in `seconds` at `rate` FLOP/s."""
    chosen = None
    for layers, width, heads, kv_heads, feed_forward in LADDER:
        config = ModelConfig(
            vocabulary=vocabulary,
            layers=layers,
            width=width,
            heads=heads,
            kv_heads=kv_heads,
            feed_forward=feed_forward,
            context=max(1024, length),
            tied=True,
        )
        tokens = rate * seconds / training_flops(config, length)
        if chosen is None or tokens >= TOKENS_PER_PARAMETER * config.matrix_parameters:
            chosen = config
    assert chosen is not None
    return chosen


HEAD = 64
"""Width of a head, where the width of the model is given."""


def reshape(config: ModelConfig, *, width: int | None, depth: int | None) -> ModelConfig:
    """`config` with another width (a multiple of 64) or number of blocks; None leaves them.

    Heads keep their width of 64, and as many of them share keys and values as a third, at least, allows to be whole.
    """
    layers = depth or config.layers
    if width is None:
        return replace(config, layers=layers)
    heads = width // HEAD
    kv_heads = next(count for count in range(max(heads // 3, 1), 0, -1) if heads % count == 0)
    return replace(
        config, layers=layers, width=width, heads=heads, kv_heads=kv_heads, head_width=HEAD,
        feed_forward=llama_feed_forward(width),
    )  # fmt: skip
