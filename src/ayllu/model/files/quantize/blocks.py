"""The bytes of llama.cpp's block types (`ggml-common.h` in ggml-org/ggml), from weights.

`encode(weights, type, importance)` is the inverse of `gguf.quants.dequantize`, which has no such direction for
super-blocks; rows are whole blocks. Shapes: N blocks, S groups of a super-block, G weights of a group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ayllu.model.files.quantize.fit import Levels, fit_affine, fit_scale, fit_super_affine, fit_super_scale, inverse
from ayllu.model.files.quantize.types import BLOCK, SUPER

CHUNK = 1 << 18
"""Weights that are worked on at once: what stays in a processor's cache."""
CODEBOOK = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""The levels of IQ4_NL and IQ4_XS (`kvalues_iq4nl`): dense where weights are."""
FOUR = Levels(low=-8, high=7)
FIVE = Levels(low=-16, high=15, reach=(0.95, 1.1))
SIX = Levels(low=-32, high=31, reach=(0.97, 1.03))
THREE = Levels(low=-4, high=3, reach=(0.8, 1.4))
CURVED = Levels(low=-127, high=113, values=CODEBOOK, reach=(0.9, 1.2))

Bytes = NDArray[np.uint8]


def encode(weights_RC: Tensor, kind: str, importance_C: Tensor | None = None) -> Bytes:
    """The bytes of float32 `weights_RC` in the type `kind` of GGUF, (R, bytes of a row).

    `importance_C` says how much each column matters: the mean square of what it is multiplied with.
    """
    R, C = weights_RC.shape
    size, group, write = WRITERS[kind]
    rows = max(1, CHUNK // C)
    parts = []
    for first in range(0, R, rows):
        x = weights_RC[first : first + rows]
        x_NSG = x.reshape(-1, size // group, group)
        weight = _weights(x, importance_C, kind).reshape(x_NSG.shape)
        parts.append(write(x_NSG, weight).reshape(len(x), -1))
    return np.concatenate(parts)


def _weights(x_RC: Tensor, importance_C: Tensor | None, kind: str) -> Tensor:
    """How much the error of each weight counts. Large weights count more, as in ggml-quants.c: they are what a model
    leans on."""
    R, C = x_RC.shape
    size, _, _ = WRITERS[kind]
    blocks = x_RC.reshape(R, C // size, size)
    square = blocks.square()
    if importance_C is not None:
        spread = (2 * square.mean(-1, keepdim=True) + square).sqrt_().reshape(R, C)
        return spread * importance_C
    return (square.mean(-1, keepdim=True).sqrt_() + blocks.abs()).reshape(R, C)


def _halves(values_N: Tensor) -> Bytes:
    """Numbers of half precision as bytes, (N, 2)."""
    return values_N.half().numpy().view(np.uint8).reshape(-1, 2)


def _nibbles(indices_NG: NDArray[Any]) -> Bytes:
    """Two to a byte, (N, G / 2): the first half of a group in the low bits, the second in the high ones."""
    half = indices_NG.shape[-1] // 2
    return indices_NG[..., :half] | indices_NG[..., half:] << 4


def _integers(values: Tensor) -> Bytes:
    return values.to(torch.uint8).numpy()


def _symmetric(levels: Levels) -> Callable[[Tensor, Tensor], Bytes]:
    """Blocks of one scale: Q4_0, Q5_0, IQ4_NL."""

    def write(x_NSG: Tensor, weight_NSG: Tensor) -> Bytes:
        x, weight = x_NSG[:, 0], weight_NSG[:, 0]
        scale = fit_scale(x, weight, levels).half()
        q = _integers(levels.indices(levels.nearest(x * inverse(scale.float())[:, None])))
        return np.concatenate([_halves(scale), *_fifth_bits(q, levels.high == FIVE.high), _nibbles(q & 15)], -1)

    return write


def _affine(top: int) -> Callable[[Tensor, Tensor], Bytes]:
    """Blocks of a scale and a least value: Q4_1, Q5_1."""

    def write(x_NSG: Tensor, weight_NSG: Tensor) -> Bytes:
        x, weight = x_NSG[:, 0], weight_NSG[:, 0]
        scale, low = (values.half() for values in fit_affine(x, weight, top, signed=True))
        q = ((x - low.float()[:, None]) * inverse(scale.float())[:, None]).round().clamp(0, top)
        ints = _integers(q)
        return np.concatenate([_halves(scale), _halves(low), *_fifth_bits(ints, top == 31), _nibbles(ints & 15)], -1)

    return write


def _fifth_bits(q_NG: Bytes, five: bool) -> list[Bytes]:
    """The highest of five bits, 32 of them in four bytes."""
    return [np.packbits(q_NG >> 4, axis=-1, bitorder="little")] if five else []


def _six_bits(scales_NS: Tensor, lows_NS: Tensor) -> Bytes:
    """Eight scales and eight least values of 6 bits in 12 bytes (`get_scale_min_k4`)."""
    s, low = _integers(scales_NS), _integers(lows_NS)
    first = s[:, :4] | s[:, 4:] >> 4 << 6
    second = low[:, :4] | low[:, 4:] >> 4 << 6
    return np.concatenate([first, second, s[:, 4:] & 15 | (low[:, 4:] & 15) << 4], -1)


def _q4_k(x_NSG: Tensor, weight_NSG: Tensor) -> Bytes:
    d, m, s, lows, q = fit_super_affine(x_NSG, weight_NSG, 15)
    pairs = _nibbles(_integers(q).reshape(-1, 4, 64)).reshape(-1, 128)
    return np.concatenate([_halves(d), _halves(m), _six_bits(s, lows), pairs], -1)


def _q5_k(x_NSG: Tensor, weight_NSG: Tensor) -> Bytes:
    d, m, s, lows, q = fit_super_affine(x_NSG, weight_NSG, 31)
    ints = _integers(q)
    high = np.packbits(ints >> 4, axis=1, bitorder="little").reshape(-1, 32)
    pairs = _nibbles(ints.reshape(-1, 4, 64) & 15).reshape(-1, 128)
    return np.concatenate([_halves(d), _halves(m), _six_bits(s, lows), high, pairs], -1)


def _q6_k(x_NSG: Tensor, weight_NSG: Tensor) -> Bytes:
    d, s, q = fit_super_scale(x_NSG, weight_NSG, SIX, 127)
    quarters = _integers(q + 32).reshape(-1, 2, 4, 32)
    low = quarters[:, :, :2] & 15 | (quarters[:, :, 2:] & 15) << 4
    high = np.bitwise_or.reduce([quarters[:, :, i] >> 4 << 2 * i for i in range(4)])
    scales = s.to(torch.int8).numpy().view(np.uint8)
    return np.concatenate([low.reshape(-1, 128), high.reshape(-1, 64), scales, _halves(d)], -1)


def _q3_k(x_NSG: Tensor, weight_NSG: Tensor) -> Bytes:
    d, s, q = fit_super_scale(x_NSG, weight_NSG, THREE, 31)
    ints = _integers(q + 4)
    mask = np.packbits(ints.reshape(-1, 8, 32) >> 2, axis=1, bitorder="little").reshape(-1, 32)
    quarters = ints.reshape(-1, 2, 4, 32) & 3
    low = np.bitwise_or.reduce([quarters[:, :, i] << 2 * i for i in range(4)]).reshape(-1, 64)
    scales = _integers(s + 32)
    first = scales[:, :8] & 15 | (scales[:, 8:] & 15) << 4
    rest = scales.reshape(-1, 4, 4) >> 4
    second = np.bitwise_or.reduce([rest[:, i] << 2 * i for i in range(4)])
    return np.concatenate([mask, low, first, second, _halves(d)], -1)


def _iq4_xs(x_NSG: Tensor, weight_NSG: Tensor) -> Bytes:
    d, s, q = fit_super_scale(x_NSG, weight_NSG, CURVED, 31)
    scales = _integers(s + 32)
    shifts = np.arange(0, 16, 2, dtype=np.uint16)
    high = np.bitwise_or.reduce((scales >> 4).astype(np.uint16) << shifts, axis=1)[:, None].view(np.uint8)
    low = scales[:, ::2] & 15 | (scales[:, 1::2] & 15) << 4
    pairs = _nibbles(_integers(CURVED.indices(q))).reshape(-1, 128)
    return np.concatenate([_halves(d), high, low, pairs], -1)


WRITERS: dict[str, tuple[int, int, Callable[[Tensor, Tensor], Bytes]]] = {
    "Q4_0": (BLOCK, BLOCK, _symmetric(FOUR)),
    "Q5_0": (BLOCK, BLOCK, _symmetric(FIVE)),
    "IQ4_NL": (BLOCK, BLOCK, _symmetric(CURVED)),
    "Q4_1": (BLOCK, BLOCK, _affine(15)),
    "Q5_1": (BLOCK, BLOCK, _affine(31)),
    "Q4_K": (SUPER, 32, _q4_k),
    "Q5_K": (SUPER, 32, _q5_k),
    "Q6_K": (SUPER, 16, _q6_k),
    "Q3_K": (SUPER, 16, _q3_k),
    "IQ4_XS": (SUPER, 32, _iq4_xs),
}
"""By type: weights of a block, weights of a group, and what makes the bytes."""
