"""Weights to few bits: each group's scale, and whole numbers that make up for each other's errors.

With 4 bits a column's rounding error is passed on to the columns that are rounded after it, as far as their inputs go
along with its own (GPTQ, Frantar et al., arXiv:2210.17323, with the columns of the largest inputs first). Then the
scales are those that are best for these whole numbers, by least squares.

Shapes: N outputs, K inputs, G groups of 32 inputs. The Gram matrix (K, K) is the mean of x x' over inputs x.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ayllu.model.files.quantize.blocks import FOUR
from ayllu.model.files.quantize.fit import fit_scale, inverse
from ayllu.serve.engines.native.panels import GROUP

DAMPING = 0.01
"""Of the mean square of an input, added to each: what a few thousand tokens say of 1,500 inputs is not exact."""
LEAST = 1e-3
"""Of the mean square of an input: one that no text used counts this much in the search for scales."""
RIDGE = 1e-4
"""Of a group's own square: groups whose outputs go along with each other keep scales of a moderate size."""
EQUATIONS = 1 << 26
"""Numbers of the equations for scales that are held at once."""
TOGETHER = 64
"""Columns whose errors reach those behind them in one product."""


def quantize_8(weight_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Float16 scales (N, G) and int8 values (N, K) from -127 to 127, each the nearest."""
    groups_NGg = weight_NK.view(len(weight_NK), -1, GROUP)
    scales_NG = (groups_NGg.abs().amax(-1) / 127).half()
    ints = (groups_NGg * inverse(scales_NG.float())[..., None]).round().clamp(-127, 127)
    return scales_NG, ints.view_as(weight_NK).to(torch.int8)


def quantize_4(weight_NK: Tensor, gram_KK: Tensor) -> tuple[Tensor, Tensor]:
    """Float16 scales (N, G) and values (N, K) from -8 to 7 for a matrix whose inputs have this Gram matrix."""
    N, K = weight_NK.shape
    importance_K = gram_KK.diagonal() / gram_KK.diagonal().mean().clamp_min(torch.finfo(torch.float32).tiny)
    weights_ng = weight_NK.reshape(-1, GROUP)
    importance_ng = importance_K.clamp_min(LEAST).expand(N, K).reshape(-1, GROUP)
    scales_NG = fit_scale(weights_ng, importance_ng, FOUR).half().view(N, -1)
    damped_KK = gram_KK + torch.eye(K) * (gram_KK.diagonal().mean() * DAMPING).clamp_min(1e-20)
    ints_NK = _compensated(weight_NK, scales_NG.float(), damped_KK)
    rows = max(1, EQUATIONS // (K // GROUP) ** 2)
    parts = zip(weight_NK.split(rows), ints_NK.split(rows), scales_NG.split(rows), strict=True)
    return torch.cat([_refitted(*part, damped_KK) for part in parts]), ints_NK.to(torch.int8)


def loss(weight_NK: Tensor, scales_NG: Tensor, ints_NK: Tensor, gram_KK: Tensor | None = None) -> Tensor:
    """The size of the error as a share of the size of what is rounded: of outputs where the inputs' Gram is known."""
    error_NK = ints_NK.float() * scales_NG.float().repeat_interleave(GROUP, 1) - weight_NK
    tiny = torch.finfo(torch.float32).tiny  # nothing is lost of nothing
    if gram_KK is None:
        return error_NK.norm() / weight_NK.norm().clamp_min(tiny)
    lost, size = (((values @ gram_KK) * values).sum() for values in (error_NK, weight_NK))
    return (lost / size.clamp_min(tiny)).sqrt()


def _compensated(weight_NK: Tensor, scales_NG: Tensor, gram_KK: Tensor) -> Tensor:
    """Whole numbers from -8 to 7, column after column; K x N within, so that a column lies in one piece."""
    order_K = torch.argsort(gram_KK.diagonal(), descending=True, stable=True)
    inverse_KK = torch.cholesky_inverse(torch.linalg.cholesky(gram_KK[order_K][:, order_K]))
    pass_on_KK = torch.linalg.cholesky(inverse_KK, upper=True)
    left_KN = weight_NK.t()[order_K].contiguous()
    scales_KN = scales_NG.t().repeat_interleave(GROUP, 0)[order_K]
    inverse_KN = inverse(scales_KN)
    found_KN = torch.empty_like(left_KN)
    for first in range(0, len(left_KN), TOGETHER):
        last = min(first + TOGETHER, len(left_KN))
        errors = torch.empty(last - first, left_KN.shape[1])
        for k in range(first, last):
            torch.clamp((left_KN[k] * inverse_KN[k]).round_(), FOUR.low, FOUR.high, out=found_KN[k])
            errors[k - first] = (left_KN[k] - found_KN[k] * scales_KN[k]) / pass_on_KK[k, k]
            left_KN[k + 1 : last].addr_(pass_on_KK[k, k + 1 : last], errors[k - first], alpha=-1)
        left_KN[last:].addmm_(pass_on_KK[first:last, last:].t(), errors, alpha=-1)
    ints_NK = torch.empty_like(weight_NK)
    ints_NK[:, order_K] = found_KN.t()
    return ints_NK


def _refitted(weight_NK: Tensor, ints_NK: Tensor, scales_NG: Tensor, gram_KK: Tensor) -> Tensor:
    """The scales with the least error of a row's output: its groups' outputs, and G equations for as many scales."""
    N, K = weight_NK.shape
    squares_NGG = torch.empty(N, K // GROUP, K // GROUP)
    for g in range(K // GROUP):
        columns = slice(g * GROUP, (g + 1) * GROUP)
        squares_NGG[:, g] = ((ints_NK[:, columns] @ gram_KK[columns]) * ints_NK).view(N, -1, GROUP).sum(-1)
    wanted_NG = ((weight_NK @ gram_KK) * ints_NK).view(N, -1, GROUP).sum(-1)
    own_NG = squares_NGG.diagonal(dim1=1, dim2=2)
    own_NG.mul_(1 + RIDGE).add_((own_NG == 0).float())  # a group of zeros: any scale
    found_NG = torch.linalg.solve(squares_NGG, wanted_NG[..., None])[..., 0].half()
    return torch.where(found_NG.isfinite() & (wanted_NG != 0), found_NG, scales_NG)
