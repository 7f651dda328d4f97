"""Weights as the engine's kernels read them: panels of 16 rows, groups of 32 columns with a scale each.

The layout is the same on every processor. Bytes of a group of a panel, rows r, columns c:
16 bits: bfloat16 [c][r]; 8 bits: int8 [c / 4][r][c % 4], then 16 scales; 4 bits: [c / 8][r][c % 4], the first four of
eight columns in the low halves and the others in the high ones, each less 8, then 16 scales (float16).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ayllu.lab.progress import bar
from ayllu.model.files import hf
from ayllu.model.transformer import Block, Transformer
from ayllu.serve.engines.native.calibrate import Rounded, matrices_of, own_text, rounded_blocks, stacked
from ayllu.serve.engines.native.panels import GROUP, HEAD_BITS, PANEL
from ayllu.serve.engines.native.rounding import loss, quantize_4, quantize_8
from ayllu.text.tokenizer import Tokenizer

WORST = {4: 0.25, 8: 0.03}
"""Most that a matrix may lose, as a share of its size (root of squares), and of its outputs' size with 4 bits. Rounding
takes a tenth, or a two-hundredth, of weights like those of trained models; more is lost where float16 has no scale so
small or so large."""


@torch.no_grad()
def parts(folder: Path, bits: int) -> Iterator[NDArray[np.generic]]:
    """The packed file of the model in `folder`, part by part, in the order of `weights.layout`.

    Raises ValueError where so few bits cannot hold it.
    """
    model = hf.load(folder).eval()
    for weight in [model.embedding.weight] if model.config.tied else [model.embedding.weight, model.output.weight]:
        yield pack([weight], max(bits, HEAD_BITS))
    blocks = _blocks_in_4(model, folder) if bits == 4 else _blocks(model, bits)
    with bar(f"packing into {bits} bits", total=model.config.layers, unit="layers") as progress:
        for matrices in blocks:
            yield from matrices
            progress.advance()
    norms = [model.norm]
    for block in model.blocks:
        assert isinstance(block, Block)
        norms += [block.attention_norm, block.feed_forward_norm]
    yield torch.cat([norm.weight.float() for norm in norms]).numpy()


def _blocks(model: Transformer, bits: int) -> Iterator[list[NDArray[np.uint8]]]:
    for block in model.blocks:
        assert isinstance(block, Block)
        yield [pack([part.weight for part in parts], bits) for parts in matrices_of(block)]


def _blocks_in_4(model: Transformer, folder: Path) -> Iterator[list[NDArray[np.uint8]]]:
    text = own_text(model, Tokenizer.load(folder).bos)
    for matrices in rounded_blocks(model, text, pack_4):
        yield [to_bytes(scales_NG, ints_NK, 4) for scales_NG, ints_NK in matrices]


def pack(weights: Sequence[Tensor], bits: int) -> NDArray[np.uint8]:
    """The bytes of matrices over the same inputs in 8 or 16 bits. Raises ValueError where 8 bits cannot hold them."""
    weight_NK = stacked(weights)
    if bits == 16:
        words = _panels(weight_NK).mT.contiguous().to(torch.bfloat16).view(torch.int16)
        return words.numpy().view(np.uint8).reshape(-1)
    scales_NG, ints_NK = quantize_8(weight_NK)
    _check(loss(weight_NK, scales_NG, ints_NK), 8)
    return to_bytes(scales_NG, ints_NK, 8)


def pack_4(weight_NK: Tensor, gram_KK: Tensor) -> Rounded:
    """`quantize_4`; ValueError where 4 bits cannot hold the matrix."""
    scales_NG, ints_NK = quantize_4(weight_NK, gram_KK)
    _check(loss(weight_NK, scales_NG, ints_NK, gram_KK), 4)
    return scales_NG, ints_NK


def _check(lost: Tensor, bits: int) -> None:
    if not lost <= WORST[bits]:
        raise ValueError(f"its weights are too small, too large or too unlike each other for {bits} bits; take 16")


def to_bytes(scales_NG: Tensor, ints_NK: Tensor, bits: int) -> NDArray[np.uint8]:
    """Panels of 8-bit or 4-bit weights."""
    ints = _panels(ints_NK)
    P, G = ints.shape[:2]
    if bits == 8:
        data = ints.view(P, G, PANEL, GROUP // 4, 4).transpose(2, 3).reshape(P, G, -1).numpy().view(np.uint8)
    else:
        pairs = (ints + 8).to(torch.uint8).view(P, G, PANEL, GROUP // 8, 2, 4)
        bytes_ = pairs[..., 0, :] | (pairs[..., 1, :] << 4)
        data = bytes_.transpose(2, 3).reshape(P, G, -1).numpy()
    scales = scales_NG.view(P, PANEL, G).transpose(1, 2).contiguous().numpy().view(np.uint8).reshape(P, G, -1)
    return np.concatenate([data, scales], axis=-1).reshape(-1)


def _panels(values_NK: Tensor) -> Tensor:
    """(P, G, 16 rows, 32 columns), in one piece."""
    N, K = values_NK.shape
    return values_NK.view(N // PANEL, PANEL, K // GROUP, GROUP).transpose(1, 2).contiguous()
