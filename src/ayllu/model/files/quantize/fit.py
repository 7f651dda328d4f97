"""The search for scales: of many roundings of a group of weights the one that loses least.

Loss is the squared error weighted by how much a weight matters. Several scales around the obvious one are tried, and
each is replaced by the one that is best for the integers that it gave (least squares), as `make_qx_quants` and
`make_qkx3_quants` in llama.cpp's ggml-quants.c do; what follows here and not there is that scales, integers and the
scale of scales are then improved in turns.

Shapes: N groups or super-blocks, S groups of a super-block, G weights of a group.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

AFFINE_TRIED, AFFINE_REACH = 12, (0.94, 1.16)
"""Scales that are tried: the range of a group comes to between these shares of the largest integer."""
SYMMETRIC_TRIED = 13
ROUNDS = 2
"""How often scales, integers and the scale of scales are improved in turns."""
TINY = 1e-30
"""Sums of squares below it are of groups that are all zero."""


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The values that a weight can have before its scale."""

    low: float
    high: float
    values: tuple[int, ...] | None = None
    """Where they are not all integers from `low` to `high`: in order."""
    reach: tuple[float, float] = (0.9, 1.2)
    """Where scales are tried: the largest weight comes to between these shares of `low`; above 1 it is cut."""

    def nearest(self, scaled: Tensor) -> Tensor:
        """The level that is nearest to each entry, as a float."""
        if self.values is None:
            return scaled.round().clamp_(self.low, self.high)
        values = torch.tensor(self.values, dtype=scaled.dtype)
        return values[torch.bucketize(scaled, (values[1:] + values[:-1]) / 2)]

    def indices(self, levels: Tensor) -> Tensor:
        """What a file stores for each level, from 0 up."""
        if self.values is None:
            return levels - self.low
        return torch.bucketize(levels, torch.tensor(self.values, dtype=levels.dtype))


def inverse(scales: Tensor) -> Tensor:
    """1 / scale, and 0 where there is none."""
    return torch.where(scales == 0, 0.0, 1 / torch.where(scales == 0, 1.0, scales))


def fit_scale(x_NG: Tensor, weight_NG: Tensor, levels: Levels) -> Tensor:
    """The scale of each group, (N,): the largest weight by size comes to about `levels.low`, which may be negative."""
    largest_N = x_NG.gather(-1, x_NG.abs().argmax(-1, keepdim=True))[..., 0]
    wx_NG = weight_NG * x_NG
    best_N, gain_N = torch.zeros_like(largest_N), torch.zeros_like(largest_N)
    inverse_N = inverse(largest_N)
    for share in torch.linspace(*levels.reach, SYMMETRIC_TRIED).tolist():
        best_N, gain_N = _better(x_NG, weight_NG, wx_NG, inverse_N * (levels.low * share), levels, best_N, gain_N)
    # Once more around what was found: least squares and rounding in turns.
    return _better(x_NG, weight_NG, wx_NG, inverse(best_N), levels, best_N, gain_N)[0]


def _better(
    x: Tensor, weight: Tensor, wx: Tensor, inverse_N: Tensor, levels: Levels, best_N: Tensor, gain_N: Tensor
) -> tuple[Tensor, Tensor]:
    """The better of `best_N` and what suits the roundings by `inverse_N`: the error falls as the gain grows."""
    q = levels.nearest(x * inverse_N[..., None])
    product = (wx * q).sum(-1)
    square = q.square_().mul_(weight).sum(-1)
    scale = product / square.clamp_min(TINY)
    found = scale * product
    better = found > gain_N
    return torch.where(better, scale, best_N), torch.where(better, found, gain_N)


def fit_affine(x_NG: Tensor, weight_NG: Tensor, top: int, *, signed: bool) -> tuple[Tensor, Tensor]:
    """Scale and least value of each group, both (N,), for integers from 0 to `top`.

    The least value is never above zero unless `signed`: super-blocks hold it without a sign.
    """
    low_N, high_N = x_NG.amin(-1), x_NG.amax(-1)
    if not signed:
        low_N = low_N.clamp_max(0)
    inverse_N = inverse((high_N - low_N).clamp_min(0))
    above_NG = x_NG - low_N[..., None]
    wx_NG = weight_NG * x_NG
    sum_w, sum_x = weight_NG.sum(-1), wx_NG.sum(-1)
    best, gain_N = (torch.zeros_like(low_N), low_N.clone()), torch.full_like(low_N, -torch.inf)
    for share in torch.linspace(*AFFINE_REACH, AFFINE_TRIED).tolist():
        q = (above_NG * (inverse_N * (top * share))[..., None]).round_().clamp_(0, top)
        wq = weight_NG * q
        sum_q, sum_xq = wq.sum(-1), (wx_NG * q).sum(-1)
        scale, low = _line(sum_w, sum_x, sum_q, wq.mul_(q).sum(-1), sum_xq, signed=signed)
        # Of a least-squares line the error falls as this grows.
        found = scale * sum_xq + low * sum_x
        better = found > gain_N
        best = torch.where(better, scale, best[0]), torch.where(better, low, best[1])
        gain_N = torch.maximum(found, gain_N)
    return best


def _line(w: Tensor, x: Tensor, q: Tensor, qq: Tensor, xq: Tensor, *, signed: bool) -> tuple[Tensor, Tensor]:
    """Slope and offset of the weighted least squares of x on q, from their sums."""
    determinant = w * qq - q * q
    flat = determinant <= 1e-6 * w * qq + TINY
    safe = torch.where(flat, 1.0, determinant)
    slope = torch.where(flat, 0.0, (w * xq - x * q) / safe)
    offset = torch.where(flat, x / w.clamp_min(TINY), (qq * x - q * xq) / safe)
    if signed:
        return slope, offset
    through_zero = offset > 0
    return torch.where(through_zero, xq / qq.clamp_min(TINY), slope), offset.clamp_max(0)


def fit_super_scale(x_NSG: Tensor, weight_NSG: Tensor, levels: Levels, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Super-blocks with one scale a group: (scale of scales (N,) in half precision, integer scales (N, S), levels).

    Integer scales go from -`most` - 1 to `most`.
    """
    scale_NS = fit_scale(x_NSG, weight_NSG, levels)
    largest_N = scale_NS.gather(-1, scale_NS.abs().argmax(-1, keepdim=True))[..., 0]
    d_N = _half(largest_N / -(most + 1))
    ints_NS = (scale_NS * inverse(d_N)[:, None]).round().clamp(-most - 1, most)
    wx = weight_NSG * x_NSG
    best, least = None, torch.full_like(d_N, torch.inf)
    for turn in range(ROUNDS + 1):
        q = levels.nearest(x_NSG * inverse(d_N[:, None] * ints_NS)[..., None])
        error = (weight_NSG * (q * (d_N[:, None] * ints_NS)[..., None] - x_NSG).square_()).sum((-1, -2))
        best = _keep(error < least, (d_N, ints_NS, q), best)
        least = torch.minimum(error, least)
        if turn < ROUNDS:
            product, square = (wx * q).sum(-1), (weight_NSG * q * q).sum(-1)
            wanted = product / square.clamp_min(TINY) * inverse(d_N)[:, None]
            ints_NS = torch.where(square > TINY, wanted, ints_NS).round().clamp(-most - 1, most)
            d_N = _half((product * ints_NS).sum(-1) / (square * ints_NS * ints_NS).sum(-1).clamp_min(TINY))
    assert best is not None
    return best[0], best[1], best[2]


def fit_super_affine(x_NSG: Tensor, weight_NSG: Tensor, top: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Super-blocks with a scale and a least value a group, both of 6 bits.

    Gives (scale of scales, scale of least values, (N,) in half precision; integer scales and least values, (N, S);
    levels (N, S, G)): a weight is d·s·q - m·l.
    """
    scale, low = fit_affine(x_NSG, weight_NSG, top, signed=False)
    d, m = _half(scale.amax(-1).clamp_min(0) / 63), _half((-low).amax(-1) / 63)
    s = (scale * inverse(d)[:, None]).round().clamp(0, 63)
    lows = (-low * inverse(m)[:, None]).round().clamp(0, 63)
    sums = weight_NSG.sum(-1), (weight_NSG * x_NSG).sum(-1)
    best, least = None, torch.full_like(d, torch.inf)
    for turn in range(ROUNDS + 1):
        slope, offset = d[:, None] * s, m[:, None] * lows
        q = ((x_NSG + offset[..., None]) * inverse(slope)[..., None]).round_().clamp_(0, top)
        error = (weight_NSG * (q * slope[..., None] - offset[..., None] - x_NSG).square_()).sum((-1, -2))
        best = _keep(error < least, (d, m, s, lows, q), best)
        least = torch.minimum(error, least)
        if turn < ROUNDS:
            d, m, s, lows = _improved(x_NSG, weight_NSG, q, sums, d, m)
    assert best is not None
    return best[0], best[1], best[2], best[3], best[4]


def _improved(
    x: Tensor, weight: Tensor, q: Tensor, sums: tuple[Tensor, Tensor], d: Tensor, m: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What suits the integers `q` better: first the scales of groups, then those of the super-blocks."""
    sum_w, sum_x = sums
    wq = weight * q
    sum_q, sum_qq, sum_xq = wq.sum(-1), (wq * q).sum(-1), (wq * x).sum(-1)
    slope, offset = _line(sum_w, sum_x, sum_q, sum_qq, sum_xq, signed=False)
    s = (slope * inverse(d)[:, None]).round().clamp(0, 63)
    lows = (-offset * inverse(m)[:, None]).round().clamp(0, 63)
    # x = d·(s q) - m·l in least squares over the super-block: two numbers.
    aa, bb = (s * s * sum_qq).sum(-1), (lows * lows * sum_w).sum(-1)
    ab, xa, xb = (s * lows * sum_q).sum(-1), (s * sum_xq).sum(-1), (lows * sum_x).sum(-1)
    determinant = aa * bb - ab * ab
    flat = determinant <= 1e-6 * aa * bb + TINY
    safe = torch.where(flat, 1.0, determinant)
    new_d, new_m = (bb * xa - ab * xb) / safe, (ab * xa - aa * xb) / safe
    usable = ~flat & (new_d > 0) & (new_m > 0)
    return _half(torch.where(usable, new_d, d)), _half(torch.where(usable, new_m, m)), s, lows


def _keep(better_N: Tensor, new: tuple[Tensor, ...], old: tuple[Tensor, ...] | None) -> tuple[Tensor, ...]:
    if old is None:
        return new
    return tuple(
        torch.where(better_N.view(-1, *[1] * (one.dim() - 1)), one, other) for one, other in zip(new, old, strict=True)
    )


def _half(values: Tensor) -> Tensor:
    """As half precision has them, in float32."""
    return values.half().float()
