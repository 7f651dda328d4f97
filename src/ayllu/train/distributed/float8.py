"""Matmuls in 8 bits: e4m3 forwards, e5m2 for gradients, one scale a tensor taken from its largest entry.

The formats and which of them goes where: Micikevicius et al., FP8 Formats for Deep Learning, arXiv:2209.05433,
section 3. They are torch's own; a CPU gives the same numbers, slowly. Master weights and what is added up stay
as they are.

Shapes: N rows, I input features, O output features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ayllu.lab.error import UserError
from ayllu.model.transformer import Linear, Transformer

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
CAPABILITY = (8, 9)
"""The first CUDA compute capability with 8-bit tensor cores (Ada; Hopper is 9.0)."""
MULTIPLE = 16
"""Features must be a multiple of this for CUDA's 8-bit matmuls."""


def use_float8(model: Transformer) -> None:
    """Have the matrices of all blocks multiply in 8 bits; embedding and output stay.

    Raises UserError on a GPU that cannot, and on a model whose matrices are no multiples of 16.
    """
    if torch.cuda.is_available() and torch.cuda.get_device_capability() < CAPABILITY:
        raise UserError("this GPU has no 8-bit matmuls; use precision=bf16 in the layout")
    for block in model.blocks:
        for name, module in block.named_modules():
            if isinstance(module, Linear):
                if any(size % MULTIPLE for size in module.weight.shape):
                    shape = " by ".join(map(str, module.weight.shape))
                    raise UserError(
                        f"{name} is {shape}; 8-bit matmuls need multiples of {MULTIPLE}: use precision=bf16"
                    )
                module.matmul = matmul


def end_float8(model: Transformer) -> None:
    """Have them multiply as before."""
    for module in model.modules():
        vars(module).pop("matmul", None)


def matmul(x: Tensor, weight_OI: Tensor) -> Tensor:
    """x W' in 8 bits, in the type of `x`; also its gradients are matmuls in 8 bits."""
    flat_ND = x.reshape(-1, x.shape[-1])
    y: Tensor = _Matmul.apply(flat_ND, weight_OI)
    return y.reshape(*x.shape[:-1], -1)


class _Matmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, weight_OI: Tensor) -> Tensor:
        x, x_scale = _quantise(x_NI, FORWARD)
        weight, weight_scale = _quantise(weight_OI, FORWARD)
        ctx.save_for_backward(x, x_scale, weight, weight_scale)
        return _multiply(x, x_scale, weight.t(), weight_scale, x_NI.dtype, fast=True)

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor) -> tuple[Tensor, Tensor]:
        x, x_scale, weight, weight_scale = ctx.saved_tensors
        (d_NO,) = d_outputs
        d, d_scale = _quantise(d_NO, BACKWARD)
        d_x = _multiply(d, d_scale, weight, weight_scale, d_NO.dtype)
        d_weight = _multiply(d.t(), d_scale, x, x_scale, d_NO.dtype)
        return d_x, d_weight


def _quantise(tensor: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """The tensor in 8 bits, and what it must be multiplied by (float32)."""
    scale = (tensor.abs().amax().float() / torch.finfo(kind).max).clamp(min=torch.finfo(torch.float32).tiny)
    return (tensor.float() / scale).to(kind), scale


def _multiply(
    a: Tensor, a_scale: Tensor, b: Tensor, b_scale: Tensor, dtype: torch.dtype, *, fast: bool = False
) -> Tensor:
    """a b, each times its scale. CUDA wants `a` by rows and `b` by columns, and rows that are a multiple of 16.

    `fast` lets a GPU add up in its tensor cores' own registers, whose few extra bits are enough forwards.
    """
    rows, inner = a.shape
    extra, fill = -rows % MULTIPLE, -inner % MULTIPLE
    if extra or fill:
        a = torch.nn.functional.pad(a.view(torch.uint8), (0, fill, 0, extra)).view(a.dtype)
        b = torch.nn.functional.pad(b.view(torch.uint8), (0, 0, 0, fill)).view(b.dtype)
    out = torch.bfloat16 if dtype == torch.float32 else dtype
    columns = b.t().contiguous().t()
    # The public `scaled_mm` can be neither compiled nor run on a CPU in torch 2.11; this one can, and in 2.13.
    y = torch._scaled_mm(a.contiguous(), columns, a_scale, b_scale, out_dtype=out, use_fast_accum=fast)
    return y[:rows].to(dtype)
