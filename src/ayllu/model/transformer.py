"""The Llama 3 transformer (arXiv:2407.21783, section 3.2): RMSNorm, SwiGLU, grouped-query attention, rotary positions.

Shapes in names: B batch, T time of the queries, S time of the keys, D model width, H query heads, K key/value heads,
h head width, F feed-forward width, V vocabulary.

Parameters live in float32; `forward` computes in the type that it is given: a matrix is cast to its input's type.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ayllu.model.config import ModelConfig
from ayllu.model.rope import rotate, rotation


class Linear(nn.Module):
    """A matrix product without bias; the weight (out, in) is cast to the input's type."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class RMSNorm(nn.Module):
    """x / rms(x) * weight, computed in float32 (arXiv:1910.07467)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x_BTD: Tensor) -> Tensor:
        x = x_BTD.float()
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon)
        return (x * self.weight).type_as(x_BTD)


class Cache:
    """Keys and values of the tokens so far: per layer (B, K, capacity, h). `length` counts the tokens held."""

    def __init__(
        self, config: ModelConfig, *, batch: int, capacity: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (config.layers, batch, config.kv_heads, capacity, config.head_width)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.length = 0
        self.starts_B: Tensor | None = None
        """Column of each row's first token where rows are padded on the left; None where all start at 0."""

    def extend(self, layer: int, key_BKTh: Tensor, value_BKTh: Tensor) -> tuple[Tensor, Tensor]:
        """Put the new tokens' keys and values behind the old ones and return all of them, (B, K, S, h) each."""
        end = self.length + key_BKTh.shape[2]
        self.keys[layer, :, :, self.length : end] = key_BKTh
        self.values[layer, :, :, self.length : end] = value_BKTh
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def take(self, rows_N: Tensor) -> Cache:
        """A cache of these rows, in this order; a row may be taken several times."""
        taken = copy.copy(self)
        taken.keys, taken.values = self.keys[:, rows_N], self.values[:, rows_N]
        taken.starts_B = None if self.starts_B is None else self.starts_B[rows_N]
        return taken


@dataclass(frozen=True, kw_only=True)
class Branches:
    """Several continuations of one beginning in one row: the beginning is computed once and all of them see it."""

    numbers_BT: Tensor
    """0 in a document's trunk; in its branches, 1, 2, …"""
    positions_BT: Tensor
    """Place of each token in its own document and branch, from 0; a branch goes on where the trunk ends."""


EXPLICIT_SCORES = 512
"""Longest row for which a CPU computes all scores at once when a mask is given: torch's CPU flash attention takes 1.6
times as long there, forward and backward (16 rows of 256, 4 heads of 64, bf16)."""


def attend(q_BHTh: Tensor, k_BHSh: Tensor, v_BHSh: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k' / sqrt(h) + mask) v, causal when `mask` is None and T > 1; keys may have fewer heads (K for H)."""
    if q_BHTh.shape[2] == 1:
        return _attend_one(q_BHTh, k_BHSh, v_BHSh, mask)
    groups = q_BHTh.shape[1] // k_BHSh.shape[1]
    if groups > 1:
        k_BHSh, v_BHSh = k_BHSh.repeat_interleave(groups, 1), v_BHSh.repeat_interleave(groups, 1)
    if mask is not None and q_BHTh.device.type == "cpu" and k_BHSh.shape[2] <= EXPLICIT_SCORES:
        scores_BHTS = (q_BHTh @ k_BHSh.transpose(-1, -2)).float() * q_BHTh.shape[-1] ** -0.5 + mask
        return scores_BHTS.softmax(-1).type_as(q_BHTh) @ v_BHSh
    causal = mask is None and q_BHTh.shape[2] > 1
    return F.scaled_dot_product_attention(q_BHTh, k_BHSh, v_BHSh, attn_mask=mask, is_causal=causal)


def _attend_one(q_BH1h: Tensor, k_BKSh: Tensor, v_BKSh: Tensor, mask: Tensor | None) -> Tensor:
    """One new token: the query heads of a key head are rows of one product, so that nothing in the cache is copied."""
    B, H, _, h = q_BH1h.shape
    q_BKGh = q_BH1h.view(B, k_BKSh.shape[1], -1, h)
    scores_BKGS = (q_BKGh @ k_BKSh.transpose(-1, -2)).float() * h**-0.5
    if mask is not None:
        scores_BKGS = scores_BKGS + mask
    return (scores_BKGS.softmax(-1).type_as(q_BH1h) @ v_BKSh).view(B, H, 1, h)


class Attention(nn.Module):
    """Grouped-query attention (arXiv:2305.13245)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = config.heads, config.kv_heads, config.head_width
        self.wq = Linear(config.width, config.heads * config.head_width)
        self.wk = Linear(config.width, config.kv_heads * config.head_width)
        self.wv = Linear(config.width, config.kv_heads * config.head_width)
        self.wo = Linear(config.heads * config.head_width, config.width)

    def forward(
        self, x_BTD: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor | None, cache: Cache | None, layer: int
    ) -> Tensor:
        B, T, _ = x_BTD.shape
        q_BHTh = rotate(self.wq(x_BTD).view(B, T, self.heads, self.head_width).transpose(1, 2), *turn)
        k_BKTh = rotate(self.wk(x_BTD).view(B, T, self.kv_heads, self.head_width).transpose(1, 2), *turn)
        v_BKTh = self.wv(x_BTD).view(B, T, self.kv_heads, self.head_width).transpose(1, 2)
        if cache is not None:
            k_BKTh, v_BKTh = cache.extend(layer, k_BKTh, v_BKTh)
        y_BHTh = attend(q_BHTh, k_BKTh, v_BKTh, mask)
        return self.wo(y_BHTh.transpose(1, 2).reshape(B, T, self.heads * self.head_width))


class FeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) * w3 x) (arXiv:2002.05202)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.w1 = Linear(config.width, config.feed_forward)
        self.w3 = Linear(config.width, config.feed_forward)
        self.w2 = Linear(config.feed_forward, config.width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x_BTD)) * self.w3(x_BTD))


class Block(nn.Module):
    """One layer: attention and feed-forward, each behind a norm and added to the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_epsilon)
        self.attention = Attention(config)
        self.feed_forward_norm = RMSNorm(config.width, config.norm_epsilon)
        self.feed_forward = FeedForward(config)

    def forward(
        self, x_BTD: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor | None, cache: Cache | None, layer: int
    ) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), turn, mask, cache, layer)
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))


class Transformer(nn.Module):
    """Ids in, logits out. Build it under `torch.device("meta")` to have the shape without the memory."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_epsilon)
        self.output = Linear(config.width, config.vocabulary)
        if config.tied:
            self.output.weight = cast(nn.Parameter, self.embedding.weight)

    def hidden(
        self,
        ids_BT: Tensor,
        *,
        documents_BT: Tensor | None = None,
        branches: Branches | None = None,
        cache: Cache | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """The normed residual stream (B, T, D) in `dtype`, ready for the output projection.

        A token attends to the tokens before it; with `documents_BT` (any integers) only to those of equal number, and
        with `branches` only to those of its document's trunk and of its own branch.
        With a `cache` the ids continue what the cache holds, and are added to it.
        """
        T = ids_BT.shape[1]
        past = cache.length if cache is not None else 0
        positions_T = torch.arange(past, past + T, device=ids_BT.device)
        turn = rotation(self.config, positions_T if branches is None else branches.positions_BT[:, None])
        x_BTD = self.embedding(ids_BT).to(dtype)
        starts_B = cache.starts_B if cache is not None else None
        masked = any(x is not None for x in (documents_BT, branches, starts_B)) or (past and T > 1)
        mask = attention_mask(positions_T, documents_BT, past, dtype, branches, starts_B) if masked else None
        for layer, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, turn, mask, cache, layer)
        if cache is not None:
            cache.length += T
        return self.norm(x_BTD)

    def forward(
        self,
        ids_BT: Tensor,
        *,
        documents_BT: Tensor | None = None,
        cache: Cache | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Logits (B, T, V) in `dtype`; see `hidden` for the arguments."""
        return self.output(self.hidden(ids_BT, documents_BT=documents_BT, cache=cache, dtype=dtype))

    def initialise(self, seed: int) -> None:
        """Draw all parameters from `seed`: normal, standard deviation 1/sqrt(inputs) for matrices that read the stream,
        zero-mean and smaller by sqrt(2L) for those that write it, 0.02 for the embedding; norms are one.
        """
        generator = torch.Generator(device="cpu").manual_seed(seed)

        def draw(weight: Tensor, deviation: float) -> None:
            values = torch.empty(weight.shape).normal_(0.0, deviation, generator=generator)
            weight.data.copy_(values)

        into_stream = 1 / math.sqrt(2 * self.config.layers)
        draw(self.embedding.weight, 0.02)
        if not self.config.tied:
            draw(self.output.weight, 0.02)
        for module in self.modules():
            if isinstance(module, RMSNorm):
                nn.init.ones_(module.weight)
            elif isinstance(module, Attention):
                for linear in (module.wq, module.wk, module.wv):
                    draw(linear.weight, linear.weight.shape[1] ** -0.5)
                draw(module.wo.weight, into_stream * module.wo.weight.shape[1] ** -0.5)
            elif isinstance(module, FeedForward):
                for linear in (module.w1, module.w3):
                    draw(linear.weight, linear.weight.shape[1] ** -0.5)
                draw(module.w2.weight, into_stream * module.w2.weight.shape[1] ** -0.5)


def attention_mask(
    positions_T: Tensor,
    documents_BT: Tensor | None,
    past: int,
    dtype: torch.dtype,
    branches: Branches | None = None,
    starts_B: Tensor | None = None,
) -> Tensor:
    """What each query may see, as numbers added to the scores: 0 or minus infinity; (B or 1, 1, T, S), S = past + T.

    Documents and branches cannot be told apart in what a cache holds, so they need `past` 0. A query in the padding
    before `starts_B` sees itself alone: a row of minus infinities has no softmax.
    """
    keys_S = torch.arange(past + positions_T.shape[0], device=positions_T.device)
    seen = (keys_S[None, :] <= positions_T[:, None])[None, None]
    if documents_BT is not None:
        seen = seen & (documents_BT[:, None, :, None] == documents_BT[:, None, None, :])
    if branches is not None:
        keys_B11S, queries_B1T1 = branches.numbers_BT[:, None, None, :], branches.numbers_BT[:, None, :, None]
        seen = seen & ((keys_B11S == 0) | (keys_B11S == queries_B1T1))
    if starts_B is not None:
        real = keys_S >= starts_B[:, None, None, None]
        seen = seen & (real | (keys_S[None, :] == positions_T[:, None]))
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, float("-inf"))
