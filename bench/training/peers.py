"""One shape of model as every contender's own configuration, and the pinned packages that each peer needs.

A shape names L layers of width D with H heads, K of them for keys and values, and F in the feed-forward; V ids; rows of
T. All contenders are Llamas: RMSNorm with 1e-5, RoPE with base 500,000, no biases. Libraries are imported where they
are used, for every peer runs in an environment (`environments.py`) that lacks the others.
"""

from __future__ import annotations

from typing import Any

PACKAGES: dict[str, tuple[str, ...]] = {
    "transformers": ("torch==2.13.0", "transformers==5.23.0"),
    "litgpt": ("torch==2.13.0", "litgpt==0.5.13"),
    "olmo-core": ("torch==2.13.0", "ai2-olmo-core==3.0.0"),
    "trl": ("torch==2.13.0", "trl==1.16.0", "transformers==5.23.0", "peft==0.21.2", "accelerate==1.15.0"),
}
ROPE_BASE, NORM_EPSILON = 500_000, 1e-5
Shape = dict[str, int]


def ours(shape: Shape, *, context: int | None = None, tied: bool = False) -> Any:
    """Ayllu's configuration; without `context` for rows of T."""
    from ayllu.model.config import ModelConfig

    return ModelConfig(
        vocabulary=shape["V"],
        layers=shape["L"],
        width=shape["D"],
        heads=shape["H"],
        kv_heads=shape["K"],
        feed_forward=shape["F"],
        context=context or shape["T"],
        tied=tied,
    )


def transformers(shape: Shape, *, context: int | None = None, tied: bool = False) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=shape["V"],
        hidden_size=shape["D"],
        intermediate_size=shape["F"],
        num_hidden_layers=shape["L"],
        num_attention_heads=shape["H"],
        num_key_value_heads=shape["K"],
        max_position_embeddings=context or shape["T"],
        rms_norm_eps=NORM_EPSILON,
        rope_parameters={"rope_type": "default", "rope_theta": float(ROPE_BASE)},
        tie_word_embeddings=tied,
        use_cache=False,
    )


def litgpt(shape: Shape) -> Any:
    from litgpt import Config

    return Config(
        block_size=shape["T"],
        vocab_size=shape["V"],
        padded_vocab_size=shape["V"],
        n_layer=shape["L"],
        n_head=shape["H"],
        n_query_groups=shape["K"],
        n_embd=shape["D"],
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        norm_eps=NORM_EPSILON,
        mlp_class_name="LLaMAMLP",
        intermediate_size=shape["F"],
        rope_base=ROPE_BASE,
    )


def olmo_core(shape: Shape) -> Any:
    from olmo_core.nn.transformer import TransformerConfig

    config = TransformerConfig.llama_like(
        d_model=shape["D"],
        vocab_size=shape["V"],
        n_layers=shape["L"],
        n_heads=shape["H"],
        n_kv_heads=shape["K"],
        rope_theta=ROPE_BASE,
    )
    # Its rule for the feed-forward gives another width: the benchmark's is set.
    config.block.feed_forward.hidden_size = shape["F"]
    return config
