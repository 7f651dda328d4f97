"""Scaled dot-product attention with grouped heads: torch's own, and one that is faster where a CPU trains.

Shapes: B batch, T time of the queries, S time of the keys, H query heads, K key/value heads, G = H/K, h head width,
N rows of a block of queries times G.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

BLOCK = 128
"""Queries whose scores are computed together. Of 64, 128 and 256 the fastest, see docs/log.md."""
LONGEST = 1024
"""Rows up to this length are attended to in blocks on a CPU; longer ones by torch's flash attention."""


Mask = Tensor | BlockMask
"""What is added to the scores, (B or 1, 1, T, S), 0 or minus infinity; or which blocks of them are made at all."""


def attend(q_BHTh: Tensor, k_BKSh: Tensor, v_BKSh: Tensor, mask: Mask | None) -> Tensor:
    """softmax(q k' / sqrt(h) + mask) v, (B, H, T, h); causal when `mask` is None and T > 1.

    A mask never shows a later key than its query's where T equals S and the code is being compiled: the blocks of a CPU
    rely on it. A `BlockMask` needs code that is being compiled.
    """
    T, S = q_BHTh.shape[2], k_BKSh.shape[2]
    if isinstance(mask, BlockMask):
        return flex_attention(q_BHTh, k_BKSh, v_BKSh, block_mask=mask, enable_gqa=True)
    if q_BHTh.device.type == "cpu" and 1 < T == S <= LONGEST and torch.compiler.is_compiling():
        return BlockedCausal.apply(q_BHTh.contiguous(), k_BKSh.contiguous(), v_BKSh.contiguous(), mask)
    if T == 1 and q_BHTh.device.type == "cpu":
        return _attend_one(q_BHTh, k_BKSh, v_BKSh, mask)
    if mask is not None and q_BHTh.device.type == "cuda":
        # With grouped heads and a mask torch has no fused kernel, and would hold all scores.
        group = q_BHTh.shape[1] // k_BKSh.shape[1]
        k_BKSh, v_BKSh = (x.repeat_interleave(group, 1) for x in (k_BKSh, v_BKSh))
        return F.scaled_dot_product_attention(q_BHTh, k_BKSh, v_BKSh, attn_mask=mask)
    return F.scaled_dot_product_attention(
        q_BHTh, k_BKSh, v_BKSh, attn_mask=mask, is_causal=mask is None and T > 1, enable_gqa=True
    )


def _attend_one(q_BH1h: Tensor, k_BKSh: Tensor, v_BKSh: Tensor, mask: Tensor | None) -> Tensor:
    """One new token: the query heads of a key head are rows of one matmul, so that nothing in the cache is copied."""
    B, H, _, h = q_BH1h.shape
    q_BKGh = q_BH1h.view(B, k_BKSh.shape[1], -1, h)
    if q_BH1h.dtype == torch.float32:
        scores_BKGS = (q_BKGh @ k_BKSh.mT) * h**-0.5
    else:
        # The second of two matrices in bf16 is laid out anew for each matmul: the keys come first, with the same bits.
        products_BKSG = k_BKSh @ q_BKGh.mT
        scores_BKGS = products_BKSG.mT.to(torch.float32, memory_format=torch.contiguous_format) * h**-0.5
    if mask is not None:
        scores_BKGS = scores_BKGS + mask
    return (scores_BKGS.softmax(-1).type_as(q_BH1h) @ v_BKSh).view(B, H, 1, h)


class BlockedCausal(torch.autograd.Function):
    """Causal attention in blocks of queries, each with the keys up to its last query: half the work of all scores.

    The query heads that share a key head are stacked, so that a matmul has G times the rows. Compiled, what lies
    between the matmuls is one loop; the backward pass takes the probabilities in the type of the values and the row
    sums from output and gradient (FlashAttention, arXiv:2205.14135, algorithm 4).
    """

    @staticmethod
    def forward(ctx: Any, q_BHTh: Tensor, k_BKTh: Tensor, v_BKTh: Tensor, mask: Tensor | None) -> Tensor:
        B, H, T, h = q_BHTh.shape
        K = k_BKTh.shape[1]
        G = H // K
        q_BKGTh = q_BHTh.view(B, K, G, T, h)
        outputs, kept = [], []
        for start in range(0, T, BLOCK):
            end = min(start + BLOCK, T)
            rows = end - start
            q_BKNh = q_BKGTh[:, :, :, start:end].reshape(B, K, G * rows, h)
            scores = (q_BKNh @ k_BKTh[:, :, :end].mT).view(B, K, G, rows, end).float() * h**-0.5
            if mask is not None:
                scores = scores + mask[:, :, None, start:end, :end]
            else:
                queries = torch.arange(start, end, device=scores.device)[:, None]
                scores = scores.masked_fill(torch.arange(end, device=scores.device) > queries, float("-inf"))
            p_BKNS = scores.softmax(-1).type_as(v_BKTh).view(B, K, G * rows, end)
            kept.append(p_BKNS)
            outputs.append((p_BKNS @ v_BKTh[:, :, :end]).view(B, K, G, rows, h))
        out_BHTh = torch.cat(outputs, 3).view(B, H, T, h)
        ctx.save_for_backward(q_BHTh, k_BKTh, v_BKTh, out_BHTh, *kept)
        return out_BHTh

    @staticmethod
    def backward(ctx: Any, *d_out: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q_BHTh, k_BKTh, v_BKTh, out_BHTh, *kept = ctx.saved_tensors
        B, H, T, h = q_BHTh.shape
        K = k_BKTh.shape[1]
        G = H // K
        d_BHTh = d_out[0].contiguous()
        sums_BKGT = (d_BHTh.float() * out_BHTh.float()).sum(-1).view(B, K, G, T)
        q_BKGTh, d_BKGTh = q_BHTh.view(B, K, G, T, h), d_BHTh.view(B, K, G, T, h)
        dq, dk = [], torch.zeros(B, K, T, h, dtype=torch.float32, device=q_BHTh.device)
        dv = torch.zeros_like(dk)
        for p_BKNS, start in zip(kept, range(0, T, BLOCK), strict=True):
            end = min(start + BLOCK, T)
            rows = end - start
            q_BKNh = q_BKGTh[:, :, :, start:end].reshape(B, K, G * rows, h)
            d_BKNh = d_BKGTh[:, :, :, start:end].reshape(B, K, G * rows, h)
            sums = sums_BKGT[:, :, :, start:end].reshape(B, K, G * rows, 1)
            dp_BKNS = d_BKNh @ v_BKTh[:, :, :end].mT
            ds_BKNS = (p_BKNS.float() * (dp_BKNS.float() - sums) * h**-0.5).type_as(q_BHTh)
            dq.append((ds_BKNS @ k_BKTh[:, :, :end]).view(B, K, G, rows, h))
            dk[:, :, :end] += ds_BKNS.mT @ q_BKNh
            dv[:, :, :end] += p_BKNS.mT @ d_BKNh
        return torch.cat(dq, 3).view(B, H, T, h), dk.type_as(k_BKTh), dv.type_as(v_BKTh), None


def document_blocks(documents_BT: Tensor) -> BlockMask:
    """The blocks of the scores in which a token sees itself and those before it that have its number.

    On a GPU what no token sees is never computed, where a mask of numbers is read and added for all of it.
    """
    B, T = documents_BT.shape

    def seen(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (documents_BT[b, query] == documents_BT[b, key])

    return _compiled_create()(seen, B, None, T, T, device=documents_BT.device)


@functools.cache
def _compiled_create() -> Callable[..., BlockMask]:
    return torch.compile(create_block_mask)


def attention_mask(
    queries_T: Tensor,
    keys_S: Tensor,
    dtype: torch.dtype,
    *,
    query_documents_BT: Tensor | None = None,
    key_documents_BS: Tensor | None = None,
) -> Tensor:
    """What each query may see, as numbers added to the scores: 0 or minus infinity; (B or 1, 1, T, S).

    A query at a position sees keys at it and before; with documents (any integers) only those of equal number.
    """
    seen = (keys_S[None, :] <= queries_T[:, None])[None, None]
    if query_documents_BT is not None and key_documents_BS is not None:
        seen = seen & (query_documents_BT[:, None, :, None] == key_documents_BS[:, None, None, :])
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, float("-inf"))
