"""Blocks of few bits: gguf's own dequantizer and llama.cpp read what we write, and it is nearer to the weights."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, quants

from ayllu.model.config import ModelConfig
from ayllu.model.files import gguf
from ayllu.model.files.quantize.blocks import WRITERS, encode
from ayllu.model.files.quantize.types import Type, tensor_type
from ayllu.model.files.weights import stored
from ayllu.model.transformer import Transformer
from ayllu.text.tokenizer import Tokenizer
from support.models import SHAPES, sharp_model
from support.parts import need_module
from support.serving.llama_cpp import LlamaCpp

LOST = {
    "Q4_0": 0.09,
    "Q5_0": 0.045,
    "IQ4_NL": 0.085,
    "Q4_1": 0.08,
    "Q5_1": 0.04,
    "Q4_K": 0.08,
    "Q5_K": 0.04,
    "Q6_K": 0.021,
    "Q3_K": 0.18,
    "IQ4_XS": 0.085,
}
"""Most that rounding may take of normal weights, as a share of their size (root of squares)."""


def share(weights: torch.Tensor, kind: str, importance: torch.Tensor | None = None) -> float:
    """What gguf's dequantizer finds of `weights` beside what they were, columns by their importance."""
    back = torch.from_numpy(quants.dequantize(encode(weights, kind, importance), GGMLQuantizationType[kind]))
    matters = torch.ones(weights.shape[1]) if importance is None else importance
    return math.sqrt(((back - weights).square() * matters).sum() / (weights.square() * matters).sum())


def normal(rows: int = 24, columns: int = 512) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, columns, generator=generator) * 0.05


@pytest.mark.parametrize("kind", WRITERS)
def test_the_gguf_package_reads_what_was_written(kind: str) -> None:
    weights = normal()
    assert share(weights, kind) < LOST[kind]
    generator = torch.Generator().manual_seed(1)
    importance = torch.rand(512, generator=generator) ** 4 + 1e-3
    assert share(weights, kind, importance) < share_without(weights, kind, importance)


def share_without(weights: torch.Tensor, kind: str, importance: torch.Tensor) -> float:
    back = torch.from_numpy(quants.dequantize(encode(weights, kind), GGMLQuantizationType[kind]))
    return math.sqrt(((back - weights).square() * importance).sum() / (weights.square() * importance).sum())


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_it_is_nearer_than_what_the_gguf_package_writes(kind: str) -> None:
    weights, type_ = normal(), GGMLQuantizationType[kind]
    theirs = torch.from_numpy(quants.dequantize(quants.quantize(weights.numpy(), type_), type_))
    assert share(weights, kind) < 0.97 * float((theirs - weights).norm() / weights.norm())


@pytest.mark.parametrize("kind", WRITERS)
def test_groups_that_are_zero_flat_or_one_sided_come_back(kind: str) -> None:
    weights = torch.stack([torch.zeros(256), torch.full((256,), 0.25), normal(1, 256)[0].abs() + 1, normal(1, 256)[0]])
    weights[3, :64] = 0
    back = torch.from_numpy(quants.dequantize(encode(weights, kind), GGMLQuantizationType[kind]))
    assert torch.equal(back[0], weights[0])
    assert torch.equal(back[3, :64], weights[3, :64])
    assert (back[1:3] - weights[1:3]).abs().max() < 0.13
    assert np.isfinite(back.numpy()).all()


SMOLLM2 = ModelConfig(
    vocabulary=49_152, layers=30, width=576, heads=9, kv_heads=3, feed_forward=1536, context=8192, tied=True
)
LARGE = replace(SMOLLM2, width=512, heads=8, kv_heads=2, tied=False)


@pytest.mark.parametrize(
    ("dtype", "config", "counts"),
    [
        ("Q4_K_M", SMOLLM2, {"Q5_0": 166, "Q4_K": 16, "Q8_0": 15, "Q6_K": 14}),
        ("Q6_K", SMOLLM2, {"Q8_0": 181, "Q6_K": 30}),
        ("Q4_K_M", LARGE, {"Q4_K": 183, "Q6_K": 29}),
        ("Q8_0", LARGE, {"Q8_0": 212}),
    ],
)
def test_matrices_that_matter_most_have_more_bits(dtype: Type, config: ModelConfig, counts: dict[str, int]) -> None:
    with torch.device("meta"):
        matrices = [(name, values) for name, values in stored(Transformer(config)) if values.dim() == 2]
    found = Counter(
        tensor_type(
            name,
            values.shape[1],
            dtype,
            layers=config.layers,
            queries_per_key=config.heads // config.kv_heads,
            tied=config.tied,
        )
        for name, values in matrices
    )
    assert found == counts


@pytest.mark.parametrize(
    ("width", "dtype"),
    [
        (64, "Q4_K_M"),
        (64, "Q3_K_M"),
        *((256, name) for name in ("Q4_K_M", "Q5_K_S", "Q6_K", "Q3_K_M", "IQ4_XS", "Q5_1")),
    ],
)
def test_llama_cpp_finds_the_same_words_likely(tmp_path: Path, tokenizer: Tokenizer, width: int, dtype: Type) -> None:
    """It rounds what the weights are multiplied with too, so that logits are near and not equal."""
    need_module("xllamacpp", "xllamacpp has no wheel for this platform")
    config = replace(SHAPES["untied"], width=width, head_width=64, feed_forward=2 * width, vocabulary=tokenizer.size)
    tokenizer.save(tmp_path)
    source = sharp_model(config)
    # It tells no probabilities of a stop, nor of a token that ends within a letter.
    for row in range(tokenizer.size):
        if row in tokenizer.stops or "\ufffd" in tokenizer.decode([row]):
            source.output.weight.data[row] = 0
    gguf.write(tmp_path / "model.gguf", source, tmp_path, dtype=dtype, name="test")
    model = gguf.read(tmp_path / "model.gguf").model.eval()
    prompt = list(range(20, 60))
    with torch.no_grad():
        ours = model(torch.tensor([prompt]))[0, -1].log_softmax(-1)
    llama = LlamaCpp(tmp_path / "model.gguf")
    try:
        answer = llama.post("/completion", prompt=prompt, n_predict=1, n_probs=10, temperature=0)
    finally:
        llama.close()
    likely = answer["completion_probabilities"][0]["top_logprobs"]
    # Logits of such a model spread by 6, and the likeliest of 600 words would be at -6.4 by chance.
    assert np.mean([abs(word["logprob"] - float(ours[word["id"]])) for word in likely]) < 0.5
    assert likely[0]["logprob"] > -4
