"""Rows in which several continuations share one prefix: what preference pairs and groups of rollouts have in common.

The prefix is computed once, forward and backward, instead of once for each continuation.

Shapes: B rows, T time, D width, V vocabulary, N scored tokens, C continuations.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ayllu.data.tokens.pack import pack_best_fit
from ayllu.model.transformer import SharedPrefix, Transformer
from ayllu.train.objectives.next_token import chunk_rows

Ids = Sequence[int]


@dataclass(frozen=True, kw_only=True)
class SharedPrefixRows:
    """Packed rows and, for each token that is scored, from where it is predicted."""

    ids_BT: Tensor
    documents_BT: Tensor
    shared_prefix: SharedPrefix
    places_N: Tensor
    """Place in the flattened rows whose state predicts the token: the end of the prefix for a first one."""
    targets_N: Tensor
    continuation_N: Tensor
    """Which continuation the token belongs to, counted over all documents in the order given."""
    continuations: int

    def log_probabilities(self, model: Transformer, dtype: torch.dtype) -> Tensor:
        """Natural log-probability of each scored token (N), float32, with gradients."""
        state_BTD = model.hidden(
            self.ids_BT, documents_BT=self.documents_BT, shared_prefix=self.shared_prefix, dtype=dtype
        )
        return linear_log_probability(state_BTD.flatten(0, 1)[self.places_N], model.output.weight, self.targets_N)

    def by_continuation(self, values_N: Tensor) -> Tensor:
        """Sums of `values_N` over the tokens of each continuation (C)."""
        sums_C = torch.zeros(self.continuations, dtype=values_N.dtype, device=values_N.device)
        return sums_C.index_add(0, self.continuation_N, values_N)

    def lengths(self) -> Tensor:
        """Scored tokens of each continuation (C), float32."""
        return self.by_continuation(torch.ones_like(self.targets_N, dtype=torch.float32))


def pack_shared_prefix(
    documents: Sequence[tuple[Ids, Sequence[Ids]]],
    *,
    length: int,
    pad: int = 0,
    predict: Sequence[Sequence[Sequence[bool]]] | None = None,
) -> SharedPrefixRows:
    """Pack documents, each a prefix and its continuations, into rows of `length` or of the longest document.

    `predict` says for each id of each continuation whether it is scored; without it all are. Raises ValueError where a
    prefix or a continuation is empty.
    """
    for prefix, continuations in documents:
        if not prefix or not all(continuations):
            raise ValueError("a beginning or a continuation is empty: there is nothing to score")
    # The last token of a continuation predicts nothing: it is scored but does not go in.
    sizes = [len(prefix) + sum(len(c) - 1 for c in continuations) for prefix, continuations in documents]
    length = max([length, *sizes])
    groups = pack_best_fit(sizes, length, [False] * len(sizes))
    first = list(itertools.accumulate((len(continuations) for _, continuations in documents), initial=0))
    packing = _Packing(len(groups), length, pad)
    for row, group in enumerate(groups):
        at = 0
        for order, number in enumerate(group, start=1):
            wanted = predict[number] if predict is not None else None
            end = packing.put(row, at, *documents[number], first=first[number], predict=wanted)
            packing.documents_BT[row, at:end] = order
            at = end
    return packing.rows(first[-1])


class _Packing:
    """Rows that documents are being put into."""

    def __init__(self, rows: int, length: int, pad: int) -> None:
        self.ids_BT = torch.full((rows, length), pad)
        self.documents_BT = torch.zeros((rows, length), dtype=torch.long)
        self._continuation_BT, self._positions_BT = (torch.zeros((rows, length), dtype=torch.long) for _ in range(2))
        self._scored: list[tuple[int, int, int]] = []
        """Continuation, place and target of each scored token."""

    def put(
        self,
        row: int,
        at: int,
        prefix: Ids,
        continuations: Sequence[Ids],
        *,
        first: int,
        predict: Sequence[Sequence[bool]] | None,
    ) -> int:
        """A document into `row` from `at` on, its continuations numbered from `first` on; returns where it ends."""
        end = at + len(prefix)
        self.ids_BT[row, at:end] = torch.tensor(prefix)
        self._positions_BT[row, at:end] = torch.arange(len(prefix))
        begin = row * self.ids_BT.shape[1]
        prefix_end, at = begin + end - 1, end
        for number, continuation in enumerate(continuations):
            end = at + len(continuation) - 1
            self.ids_BT[row, at:end] = torch.tensor(continuation[:-1], dtype=torch.long)
            self._continuation_BT[row, at:end] = number + 1
            self._positions_BT[row, at:end] = len(prefix) + torch.arange(end - at)
            # Its first token is predicted from the end of the prefix, each other one from the token before it.
            places = [prefix_end, *range(begin + at, begin + end)]
            wanted = predict[number] if predict is not None else [True] * len(continuation)
            scored = zip(places, continuation, wanted, strict=True)
            self._scored += [(first + number, place, target) for place, target, chosen in scored if chosen]
            at = end
        return at

    def rows(self, continuations: int) -> SharedPrefixRows:
        """All of it, the scored tokens in the order of the continuations, whatever row they lie in."""
        scored = sorted(self._scored, key=lambda entry: entry[:1])
        table = torch.tensor(scored, dtype=torch.long).reshape(-1, 3)
        return SharedPrefixRows(
            ids_BT=self.ids_BT,
            documents_BT=self.documents_BT,
            shared_prefix=SharedPrefix(continuation_BT=self._continuation_BT, positions_BT=self._positions_BT),
            places_N=table[:, 1],
            targets_N=table[:, 2],
            continuation_N=table[:, 0],
            continuations=continuations,
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
