"""Rows in which several continuations share one beginning: what preference pairs and groups of rollouts have in common.

The beginning is computed once, forward and backward, instead of once for each continuation.

Shapes: B rows, T time, D width, V vocabulary, N scored tokens, C continuations.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ayllu.data.tokens.pack import pack_best_fit
from ayllu.model.transformer import Branches, Transformer
from ayllu.train.objectives.next_token import chunk_rows

Ids = Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Branched:
    """Packed rows and, for each token that is scored, from where it is predicted."""

    ids_BT: Tensor
    documents_BT: Tensor
    branches: Branches
    places_N: Tensor
    """Place in the flattened rows whose state predicts the token: the end of the trunk for a first one."""
    targets_N: Tensor
    continuation_N: Tensor
    """Which continuation the token belongs to, counted over all documents in the order given."""
    continuations: int

    def log_probabilities(self, model: Transformer, dtype: torch.dtype) -> Tensor:
        """Natural log-probability of each scored token (N), float32, with gradients."""
        state_BTD = model.hidden(self.ids_BT, documents_BT=self.documents_BT, branches=self.branches, dtype=dtype)
        return linear_log_probability(state_BTD.flatten(0, 1)[self.places_N], model.output.weight, self.targets_N)

    def by_continuation(self, values_N: Tensor) -> Tensor:
        """Sums of `values_N` over the tokens of each continuation (C)."""
        sums_C = torch.zeros(self.continuations, dtype=values_N.dtype, device=values_N.device)
        return sums_C.index_add(0, self.continuation_N, values_N)

    def lengths(self) -> Tensor:
        """Scored tokens of each continuation (C), float32."""
        return self.by_continuation(torch.ones_like(self.targets_N, dtype=torch.float32))


def branch(
    documents: Sequence[tuple[Ids, Sequence[Ids]]],
    *,
    length: int,
    pad: int = 0,
    predict: Sequence[Sequence[Sequence[bool]]] | None = None,
) -> Branched:
    """Pack documents, each a trunk and its continuations, into rows of `length` or of the longest document.

    `predict` says for each id of each continuation whether it is scored; without it all are. Raises ValueError where a
    trunk or a continuation is empty.
    """
    for trunk, continuations in documents:
        if not trunk or not all(continuations):
            raise ValueError("a beginning or a continuation is empty: there is nothing to score")
    # The last token of a continuation predicts nothing: it is scored but does not go in.
    sizes = [len(trunk) + sum(len(c) - 1 for c in continuations) for trunk, continuations in documents]
    length = max([length, *sizes])
    groups = pack_best_fit(sizes, length, [False] * len(sizes))
    first = [0]
    for _, continuations in documents:
        first.append(first[-1] + len(continuations))
    shape = (len(groups), length)
    ids, owner = torch.full(shape, pad), torch.zeros(shape, dtype=torch.long)
    numbers, positions = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    scored: list[tuple[int, int, int]] = []  # continuation, place, target
    for row, group in enumerate(groups):
        at = 0
        for order, document in enumerate(group, start=1):
            trunk, continuations = documents[document]
            begin, end = at, at + len(trunk)
            ids[row, at:end] = torch.tensor(trunk)
            positions[row, at:end] = torch.arange(len(trunk))
            trunk_end, at = row * length + end - 1, end
            for number, continuation in enumerate(continuations, start=1):
                wanted = predict[document][number - 1] if predict is not None else [True] * len(continuation)
                end = at + len(continuation) - 1
                ids[row, at:end] = torch.tensor(continuation[:-1], dtype=torch.long)
                numbers[row, at:end] = number
                positions[row, at:end] = len(trunk) + torch.arange(end - at)
                places = [trunk_end, *range(row * length + at, row * length + end)]
                entries = zip(places, continuation, wanted, strict=True)
                scored += [(first[document] + number - 1, place, target) for place, target, w in entries if w]
                at = end
            owner[row, begin:at] = order
    # In the order of the continuations, whatever row they lie in.
    scored.sort(key=lambda entry: entry[:1])
    table = torch.tensor(scored, dtype=torch.long).reshape(-1, 3)
    return Branched(
        ids_BT=ids,
        documents_BT=owner,
        branches=Branches(numbers_BT=numbers, positions_BT=positions),
        places_N=table[:, 1],
        targets_N=table[:, 2],
        continuation_N=table[:, 0],
        continuations=first[-1],
    )


def content_fingerprint(*content: Any) -> str:
    """A digest of plain values: what tells one source's samples from another's."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def linear_log_probability(state_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
    """log softmax(state @ weight.T)[target] of each row (N), float32, without ever holding all the logits."""
    return _LinearLogProbability.apply(state_ND, weight_VD, targets_N)


class _LinearLogProbability(torch.autograd.Function):
    """Logits are computed again in the backward pass, chunk by chunk: each row's gradient is only known there."""

    @staticmethod
    def forward(ctx: Any, state_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
        weight = weight_VD.to(state_ND.dtype)
        chunk = chunk_rows(weight)
        found, sums = [], []
        for x_ND, targets in zip(state_ND.split(chunk), targets_N.split(chunk), strict=True):
            logits_NV = (x_ND @ weight.t()).float()
            sums.append(logits_NV.logsumexp(-1))
            found.append(logits_NV.gather(-1, targets[:, None])[:, 0] - sums[-1])
        ctx.save_for_backward(state_ND, weight_VD, targets_N, torch.cat(sums))
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *d_values: Tensor) -> tuple[Tensor, Tensor | None, None]:
        state_ND, weight_VD, targets_N, sums_N = ctx.saved_tensors
        weight = weight_VD.to(state_ND.dtype)
        chunk = chunk_rows(weight)
        d_weight = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        d_states = []
        for x_ND, targets, log_sum, d_value in zip(
            state_ND.split(chunk), targets_N.split(chunk), sums_N.split(chunk), d_values[0].split(chunk), strict=True
        ):
            # d log p[target] / d logits = onehot - softmax
            d_logits = -((x_ND @ weight.t()).float() - log_sum[:, None]).exp()
            d_logits[torch.arange(len(targets), device=targets.device), targets] += 1
            d_logits = (d_logits * d_value[:, None]).to(x_ND.dtype)
            d_states.append(d_logits @ weight)
            if d_weight is not None:
                d_weight += (d_logits.t() @ x_ND).to(d_weight.dtype)
        return torch.cat(d_states), d_weight, None
