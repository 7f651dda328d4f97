"""Weights as the engine's kernels read them: panels of 16 rows, groups of 32 columns with a scale each.

The layout is the same on every processor. Bytes of a group of a panel, rows r, columns c:
16 bits: bfloat16 [c][r]; 8 bits: int8 [c / 4][r][c % 4], then 16 scales; 4 bits: [c / 8][r][c % 4], the first four of
eight columns in the low halves and the others in the high ones, each less 8, then 16 scales (float16).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PANEL, GROUP = 16, 32
BITS = (4, 8, 16)
TRIED = 9
"""Scales that are tried for each group of 4-bit weights."""
WORST = {4: 0.25, 8: 0.03}
"""Most that a matrix may lose, as a share of its size (root of squares). Rounding takes a tenth, or a two-hundredth, of
weights like those of trained models; more is lost where float16 has no scale so small or so large."""


def padded(size: int, multiple: int) -> int:
    """The next multiple."""
    return -(-size // multiple) * multiple


def pack(weight_NK: Tensor, bits: int) -> NDArray[np.uint8]:
    """The bytes of a matrix (outputs, inputs), padded with zeros to whole panels and groups.

    Raises ValueError where so few bits cannot hold it.
    """
    N, K = weight_NK.shape
    whole = torch.zeros(padded(N, PANEL), padded(K, GROUP))
    whole[:N, :K] = weight_NK.float()
    rows_PRGC = whole.view(-1, PANEL, whole.shape[1] // GROUP, GROUP)
    groups_PGRC = rows_PRGC.transpose(1, 2).contiguous()
    P, G = groups_PGRC.shape[:2]
    if bits == 16:
        words = groups_PGRC.mT.contiguous().to(torch.bfloat16).view(torch.int16)
        return words.numpy().view(np.uint8).reshape(-1)
    scales_PGR, ints = (quantize_8 if bits == 8 else quantize_4)(groups_PGRC)
    lost = (ints.float() * scales_PGR.float()[..., None] - groups_PGRC).norm()
    if not lost <= WORST[bits] * groups_PGRC.norm():
        raise ValueError(f"its weights are too small, too large or too unlike each other for {bits} bits; take 16")
    if bits == 8:
        data = ints.view(P, G, PANEL, GROUP // 4, 4).transpose(2, 3).reshape(P, G, -1).numpy().view(np.uint8)
    else:
        pairs = (ints + 8).to(torch.uint8).view(P, G, PANEL, GROUP // 8, 2, 4)
        bytes_ = pairs[..., 0, :] | (pairs[..., 1, :] << 4)
        data = bytes_.transpose(2, 3).reshape(P, G, -1).numpy()
    scales = scales_PGR.contiguous().numpy().view(np.uint8).reshape(P, G, -1)
    return np.concatenate([data, scales], axis=-1).reshape(-1)


def quantize_8(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Float16 scales and int8 values from -127 to 127 of groups along the last axis."""
    scales = (groups.abs().amax(-1) / 127).half()
    return scales, _rounded(groups, scales, -127, 127).to(torch.int8)


def quantize_4(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Float16 scales and values from -8 to 7: of several scales the one with the least squared error.

    They begin around the one that puts the largest value at -8, as llama.cpp's Q4_0 takes it (ggml-quants.c), which
    wastes no level; larger divisors cut that value and round the others better.
    """
    largest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))[..., 0]
    best = torch.zeros_like(largest, dtype=torch.float16)
    least = torch.full_like(largest, torch.inf)
    for step in range(TRIED):
        scales = (largest / (-8 + 0.25 * (step - 2))).half()
        error = (_rounded(groups, scales, -8, 7) * scales.float()[..., None] - groups).square().sum(-1)
        best, least = torch.where(error < least, scales, best), torch.minimum(error, least)
    return best, _rounded(groups, best, -8, 7).to(torch.int8)


def _rounded(groups: Tensor, scales: Tensor, low: int, high: int) -> Tensor:
    inverse = torch.where(scales == 0, 0.0, 1 / scales.float())
    return (groups * inverse[..., None]).round().clamp(low, high)
