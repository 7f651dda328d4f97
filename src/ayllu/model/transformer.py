"""The Llama 3 transformer (arXiv:2407.21783, section 3.2): RMSNorm, SwiGLU, grouped-query attention, rotary positions.

Shapes in names: B batch, T time of the queries, S time of the keys, D model width, H query heads, K key/value heads,
h head width, F feed-forward width, V vocabulary.

Parameters live in float32; `forward` computes in the type that it is given: a matrix is cast to its input's type.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ayllu.model.attention import Mask, attend, attention_mask, document_blocks
from ayllu.model.config import ModelConfig
from ayllu.model.rope import rotate, rotation


class Linear(nn.Linear):
    """A matmul without bias; the weight (out, in) is cast to the input's type."""

    matmul: Callable[[Tensor, Tensor], Tensor] = staticmethod(F.linear)
    """Of input and weight; a module can be given another, such as one in 8 bits."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def reset_parameters(self) -> None:
        """Nothing: `Transformer.initialise` draws all weights, and files bring theirs."""

    def forward(self, x: Tensor) -> Tensor:
        return self.matmul(x, self.weight.to(x.dtype))


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
        self.lengths_B: Tensor | None = None
        """Tokens of each row, where rows may differ: one token of each follows at a time, and what stands behind a
        row's own is not seen. None where all rows have `length`."""

    def extend(self, layer: int, key_BKTh: Tensor, value_BKTh: Tensor) -> tuple[Tensor, Tensor]:
        """Put the new tokens' keys and values behind the old ones and return all of them, (B, K, S, h) each; where rows
        differ, all that there is room for.
        """
        if self.lengths_B is not None:
            rows_B = torch.arange(len(self.lengths_B), device=self.lengths_B.device)
            self.keys[layer][rows_B, :, self.lengths_B] = key_BKTh[:, :, 0]
            self.values[layer][rows_B, :, self.lengths_B] = value_BKTh[:, :, 0]
            # A part of it would be copied at every matmul.
            return self.keys[layer], self.values[layer]
        end = self.length + key_BKTh.shape[2]
        self.keys[layer, :, :, self.length : end] = key_BKTh
        self.values[layer, :, :, self.length : end] = value_BKTh
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, tokens: int) -> None:
        """Count tokens that every row was given."""
        self.length += tokens
        if self.lengths_B is not None:
            self.lengths_B = self.lengths_B + tokens

    def take(self, rows_N: Tensor) -> Cache:
        """A cache of these rows, in this order; a row may be taken several times."""
        taken = copy.copy(self)
        taken.keys, taken.values = self.keys[:, rows_N], self.values[:, rows_N]
        taken.lengths_B = None if self.lengths_B is None else self.lengths_B[rows_N]
        return taken


@dataclass(frozen=True, kw_only=True)
class SharedPrefix:
    """Several continuations of one beginning in one row: the beginning is computed once and all of them see it."""

    continuation_BT: Tensor
    """0 in a document's prefix; in its continuations 1, 2, …"""
    positions_BT: Tensor
    """Place of each token in its own document, from 0; every continuation goes on where the prefix ends."""


class Attention(nn.Module):
    """Grouped-query attention (arXiv:2305.13245)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_width = config.head_width
        self.wq = Linear(config.width, config.heads * config.head_width)
        self.wk = Linear(config.width, config.kv_heads * config.head_width)
        self.wv = Linear(config.width, config.kv_heads * config.head_width)
        self.wo = Linear(config.heads * config.head_width, config.width)
        self.gather: Callable[[Tensor], Tensor] | None = None
        """Context parallelism: brings the keys or values of all devices that share a sequence together."""

    def forward(
        self, x_BTD: Tensor, turn: tuple[Tensor, Tensor], mask: Mask | None, cache: Cache | None, layer: int
    ) -> Tensor:
        # The number of heads is not said: under tensor parallelism a device has some of them.
        B, T, _ = x_BTD.shape
        q_BHTh = rotate(self.wq(x_BTD).view(B, T, -1, self.head_width).transpose(1, 2), *turn)
        k_BKTh = rotate(self.wk(x_BTD).view(B, T, -1, self.head_width).transpose(1, 2), *turn)
        v_BKTh = self.wv(x_BTD).view(B, T, -1, self.head_width).transpose(1, 2)
        if cache is not None:
            k_BKTh, v_BKTh = cache.extend(layer, k_BKTh, v_BKTh)
        if self.gather is not None:
            k_BKTh, v_BKTh = self.gather(k_BKTh), self.gather(v_BKTh)
        y_BHTh = attend(q_BHTh, k_BKTh, v_BKTh, mask)
        return self.wo(y_BHTh.transpose(1, 2).reshape(B, T, -1))


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
        self, x_BTD: Tensor, turn: tuple[Tensor, Tensor], mask: Mask | None, cache: Cache | None, layer: int
    ) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), turn, mask, cache, layer)
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))


class Transformer(nn.Module):
    """Ids in, logits out. Build it under `torch.device("meta")` to have the shape without the memory.

    A pipeline stage is a transformer too, of which what other stages have is None: `embedding`, some of the `blocks`,
    `norm` and `output` (`ayllu.train.distributed.pipeline`).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        # Nothing is drawn, as in `Linear`: on meta that alone would import some eight hundred modules of torch.
        rows_VD = torch.empty(config.vocabulary, config.width)
        self.embedding = nn.Embedding.from_pretrained(rows_VD, freeze=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_epsilon)
        self.output = Linear(config.width, config.vocabulary)
        if config.tied:
            self.output.weight = cast(nn.Parameter, self.embedding.weight)
        self.fused = False

    def fuse(self) -> None:
        """Let torch.compile fuse what lies between the matmuls of each block: one compilation serves all of them."""
        self.fused = True
        for block in self.blocks:
            block.compile(dynamic=False)

    def hidden(
        self,
        ids_BT: Tensor,
        *,
        documents_BT: Tensor | None = None,
        shared_prefix: SharedPrefix | None = None,
        positions_T: Tensor | None = None,
        mask: Mask | None = None,
        cache: Cache | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """The normed residual stream (B, T, D) in `dtype`, ready for the output projection.

        A stream (B, T, D) in `dtype` may come in place of ids, such as one with pictures. A pipeline stage without an
        embedding gets that of the stage before, and gives it on as it is where it has no norm.
        A token attends to the tokens before it; with `documents_BT` (any integers) only to those of equal number, and
        with `shared_prefix` only to those of its document's prefix and of its own continuation.
        With a `cache` the ids continue what the cache holds, and are added to it. A device that has part of each
        sequence gives the `positions_T` of its ids, and a `mask` (see `attention_mask`) over all keys.
        """
        past = cache.length if cache is not None else 0
        if cache is not None and cache.lengths_B is not None:
            positions_T, mask = cache.lengths_B[:, None, None], rows_mask(cache.lengths_B, cache.keys.shape[3], dtype)
        if positions_T is None:
            positions_T = torch.arange(past, past + ids_BT.shape[1], device=ids_BT.device)
        if mask is None:
            mask = causal_mask(positions_T, documents_BT, past, dtype, shared_prefix=shared_prefix, fused=self.fused)
        x_BTD = ids_BT if ids_BT.is_floating_point() else self.embedding(ids_BT).to(dtype)
        turn = rotation(self.config, positions_T if shared_prefix is None else shared_prefix.positions_BT[:, None])
        for layer, block in enumerate(self.blocks):
            if block is not None:
                x_BTD = block(x_BTD, turn, mask, cache, layer)
        if cache is not None:
            cache.advance(ids_BT.shape[1])
        return self.norm(x_BTD) if self.norm is not None else x_BTD

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
        """Give every parameter its value of `initial_values`."""
        weights = dict(self.named_parameters())
        for name, values in self.initial_values(seed):
            weights[name].data.copy_(values)

    def initial_values(self, seed: int) -> Iterator[tuple[str, Tensor]]:
        """Name and first value of each parameter, one at a time; a tied one once. The model may be on the meta device.

        All drawn from `seed`: normal, standard deviation 1/sqrt(inputs) for matrices that read the stream, zero-mean
        and smaller by sqrt(2L) for those that write it, 0.02 for embedding and output; norms are one.
        """
        generator = torch.Generator(device="cpu").manual_seed(seed)
        into_stream = 1 / math.sqrt(2 * self.config.layers)

        def draw(weight: Tensor, deviation: float) -> Tensor:
            return torch.empty(weight.shape, device="cpu").normal_(0.0, deviation, generator=generator)

        yield "embedding.weight", draw(self.embedding.weight, 0.02)
        if not self.config.tied:
            yield "output.weight", draw(self.output.weight, 0.02)
        for name, module in self.named_modules():
            if isinstance(module, RMSNorm):
                yield f"{name}.weight", torch.ones(module.weight.shape, device="cpu")
            parts = {Attention: ("wq", "wk", "wv", "wo"), FeedForward: ("w1", "w3", "w2")}.get(type(module), ())
            for part in parts:
                weight = getattr(module, part).weight
                # The last of each writes into the stream.
                scale = into_stream if part == parts[-1] else 1.0
                yield f"{name}.{part}.weight", draw(weight, scale * weight.shape[1] ** -0.5)


def causal_mask(
    positions_T: Tensor,
    documents_BT: Tensor | None,
    past: int,
    dtype: torch.dtype,
    *,
    shared_prefix: SharedPrefix | None = None,
    fused: bool = False,
) -> Mask | None:
    """The mask of tokens that follow `past` cached ones; None where torch's own causal attention is right.

    Documents and continuations cannot be told apart in what a cache holds, so they need `past` 0. Documents alone are
    blocks where a GPU runs compiled (`fused`) code.
    """
    T = positions_T.shape[0]
    if fused and documents_BT is not None and documents_BT.is_cuda and shared_prefix is None and past == 0:
        return document_blocks(documents_BT)
    if documents_BT is None and shared_prefix is None and (past == 0 or T == 1):
        return None
    keys_S = torch.arange(past + T, device=positions_T.device)
    mask = attention_mask(positions_T, keys_S, dtype, query_documents_BT=documents_BT, key_documents_BS=documents_BT)
    if shared_prefix is not None:
        continuation_BT = shared_prefix.continuation_BT
        keys_B11S, queries_B1T1 = continuation_BT[:, None, None, :], continuation_BT[:, None, :, None]
        mask = mask.masked_fill((keys_B11S != 0) & (keys_B11S != queries_B1T1), float("-inf"))
    return mask


def rows_mask(lengths_B: Tensor, keys: int, dtype: torch.dtype) -> Tensor:
    """What the next token of each row may see: its row's tokens, `lengths_B`, and itself behind them; (B, 1, 1, S)."""
    seen_BS = torch.arange(keys, device=lengths_B.device) <= lengths_B[:, None]
    return torch.zeros_like(seen_BS, dtype=dtype).masked_fill(~seen_BS, float("-inf"))[:, None, None]
