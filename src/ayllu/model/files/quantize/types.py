"""Which type each tensor of a GGUF file has.

The name of a file's type is that of most of its matrices; those whose errors cost most have more bits: the output
projection, values of attention, and what leads out of the feed-forward network, in the layers at both ends and each
third one between. Source: `llama_tensor_get_type_impl` and `tensor_type_fallback` in llama.cpp's llama-quant.cpp, but
for Q4_0, whose embedding and output have eight bits, and for Q3_K, which newer versions replace by Q4_0.
"""

from __future__ import annotations

from typing import Literal, get_args

Type = Literal[
    "F32",
    "F16",
    "BF16",
    "Q8_0",
    "Q6_K",
    "Q5_K_M",
    "Q5_K_S",
    "Q5_1",
    "Q5_0",
    "Q4_K_M",
    "Q4_K_S",
    "Q4_1",
    "Q4_0",
    "IQ4_NL",
    "IQ4_XS",
    "Q3_K_M",
]
"""Types of a GGUF file that can be written; norms are always F32."""
BLOCK, SUPER = 32, 256
"""Weights of a row that share a scale, and that share a scale of scales."""
FLOATS = ("F32", "F16", "BF16")
QUANTIZED: tuple[Type, ...] = tuple(name for name in get_args(Type) if name not in FLOATS)
FILE_TYPES: dict[str, str] = {"F32": "ALL_F32"} | {name: f"MOSTLY_{name}" for name in get_args(Type)[1:]}
"""Their names in `general.file_type`."""
NARROWER = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "Q3_K": "IQ4_NL", "IQ4_XS": "IQ4_NL"}
"""What stands in where rows are no whole super-blocks."""
_HALF = 65_504
LARGEST: dict[str, float] = {
    "F16": _HALF,
    "BF16": 3.3895313892515355e38,
    "Q8_0": _HALF * 127,
    "Q4_0": _HALF * 8,
    **dict.fromkeys(("Q6_K", "Q5_K", "Q4_K", "Q3_K", "IQ4_XS", "Q5_0", "IQ4_NL"), _HALF * 4),
    **dict.fromkeys(("Q5_1", "Q4_1"), _HALF),
}
"""The largest value in each type of tensor: scales and least values of blocks are numbers of half precision."""


def tensor_type(name: str, columns: int, dtype: Type, *, layers: int, queries_per_key: int, tied: bool) -> str:
    """The type of the matrix `name` (ours) with rows of `columns` weights, in a file of the type `dtype`.

    A matrix whose rows are not whole blocks stays at half precision, as llama.cpp has it.
    """
    if dtype in FLOATS:
        return dtype
    wanted = _wanted(name, dtype, layers, queries_per_key, tied)
    if columns % SUPER and wanted in NARROWER:
        wanted = NARROWER[wanted]
    return "F16" if columns % BLOCK else wanted


def _wanted(name: str, dtype: Type, layers: int, queries_per_key: int, tied: bool) -> str:
    usual = dtype.removesuffix("_M").removesuffix("_S")
    if dtype == "Q8_0":
        return usual
    if name == "output.weight" or (tied and name == "embedding.weight"):
        # Their errors fall on every token.
        return "Q8_0" if dtype == "Q4_0" else "Q6_K"
    if name == "embedding.weight":
        return "Q8_0" if dtype == "Q4_0" else usual
    layer, part = int(name.split(".")[1]), name.split(".", 2)[2].removesuffix(".weight")
    return _more_bits(part, layer, layers, dtype, queries_per_key) or usual


def _more_bits(part: str, layer: int, layers: int, dtype: Type, queries_per_key: int) -> str | None:
    """The type of a matrix that has more bits than most of its file, or None."""
    sensitive = part in ("attention.wv", "feed_forward.w2")
    outer = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
    if dtype in ("Q4_K_M", "Q5_K_M") and sensitive and outer:
        return "Q6_K"
    if dtype == "Q4_K_S" and (
        (part == "attention.wv" and layer < 4) or (part == "feed_forward.w2" and layer < layers // 8)
    ):
        return "Q5_K"
    if dtype in ("IQ4_NL", "IQ4_XS") and part == "attention.wv" and queries_per_key >= 4:
        return "Q5_K"
    if dtype in ("IQ4_NL", "IQ4_XS") and part == "feed_forward.w2" and layer < layers // 8:
        return "Q5_K"
    if dtype == "Q3_K_M":
        if part == "attention.wv":
            return "Q5_K" if layer < 2 else "Q4_K"
        if part == "feed_forward.w2":
            return "Q5_K" if layer < layers // 16 else "Q4_K"
        return "Q4_K" if part == "attention.wo" else None
    return None
