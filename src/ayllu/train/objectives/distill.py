"""Distillation: learning a larger model's distribution instead of one right token.

Shapes: B batch, T time, D width (each model has its own), V vocabulary, N tokens of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ayllu.data.tokens.loader import IGNORED, Batch
from ayllu.model.transformer import Transformer
from ayllu.train.objectives.next_token import chunk_rows, linear_cross_entropy


def distillation_loss(
    teacher: Transformer, *, temperature: float = 1.0, hard: float = 0.0
) -> Callable[[Transformer, Batch, torch.dtype], Tensor]:
    """The objective: (model, batch, dtype) to the loss summed over predicted tokens, a float32 scalar.

    (1 - hard) * temperature^2 * KL(teacher || student), both softened by `temperature`, + hard * cross-entropy of the
    next token (Hinton et al., arXiv:1503.02531, section 2). Raises ValueError on a temperature not above 0, a share
    outside 0 to 1, and vocabularies that differ in size.
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0")
    if not 0 <= hard <= 1:
        raise ValueError(f"hard is {hard}; it is a share from 0 to 1")

    def loss(model: Transformer, batch: Batch, dtype: torch.dtype) -> Tensor:
        if teacher.config.vocabulary != model.config.vocabulary:
            raise ValueError(
                f"the teacher has {teacher.config.vocabulary} entries in its vocabulary and the student "
                f"{model.config.vocabulary}; both must read the same tokens"
            )
        counted_BT = batch.targets_BT != IGNORED
        with torch.no_grad():
            teacher_BTD = teacher.to(batch.ids_BT.device).hidden(
                batch.ids_BT, documents_BT=batch.documents_BT, dtype=dtype
            )
        state_ND = model.hidden(batch.ids_BT, documents_BT=batch.documents_BT, dtype=dtype)[counted_BT]
        soft = linear_kl_divergence(
            state_ND, model.output.weight, teacher_BTD[counted_BT], teacher.output.weight, temperature
        )
        if not hard:
            return soft
        return (1 - hard) * soft + hard * linear_cross_entropy(
            state_ND, model.output.weight, batch.targets_BT[counted_BT]
        )

    return loss


def linear_kl_divergence(
    state_ND: Tensor, weight_VD: Tensor, teacher_ND: Tensor, teacher_VD: Tensor, temperature: float
) -> Tensor:
    """temperature^2 * sum over rows of KL(teacher || student), without ever holding all the logits."""
    return _LinearKLDivergence.apply(state_ND, weight_VD, teacher_ND, teacher_VD, temperature)


class _LinearKLDivergence(torch.autograd.Function):
    """Makes gradients together with the loss: d/dlogits = temperature * (student - teacher), which needs both once."""

    @staticmethod
    def forward(
        ctx: Any, state_ND: Tensor, weight_VD: Tensor, teacher_ND: Tensor, teacher_VD: Tensor, temperature: float
    ) -> Tensor:
        weight, teacher_weight = weight_VD.to(state_ND.dtype), teacher_VD.to(teacher_ND.dtype)
        chunk = chunk_rows(weight)
        loss = torch.zeros((), dtype=torch.float32, device=state_ND.device)
        d_weight = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        d_states = []
        for x_ND, y_ND in zip(state_ND.split(chunk), teacher_ND.split(chunk), strict=True):
            student_NV = ((x_ND @ weight.t()).float() / temperature).log_softmax(-1)
            teacher_NV = ((y_ND @ teacher_weight.t()).float() / temperature).log_softmax(-1)
            loss = loss + (teacher_NV.exp() * (teacher_NV - student_NV)).sum()
            d_logits = ((student_NV.exp() - teacher_NV.exp()) * temperature).to(x_ND.dtype)
            d_states.append(d_logits @ weight)
            if d_weight is not None:
                d_weight += (d_logits.t() @ x_ND).to(d_weight.dtype)
        ctx.save_for_backward(torch.cat(d_states), d_weight)
        return loss * temperature**2

    @staticmethod
    def backward(ctx: Any, *d_loss: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        d_state, d_weight = ctx.saved_tensors
        scaled = d_weight * d_loss[0] if d_weight is not None else None
        return d_state * d_loss[0].to(d_state.dtype), scaled, None, None, None
