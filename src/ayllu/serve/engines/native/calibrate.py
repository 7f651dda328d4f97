"""What a model's matrices see on text of its own, layer by layer, each behind those that are rounded already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ayllu.lab.progress import bar
from ayllu.model.rope import rotation
from ayllu.model.transformer import Attention, Block, Cache, Linear, Transformer
from ayllu.serve.engines.native.panels import GROUP, PANEL, padded

ROWS, LENGTH = 64, 128
"""Texts that the model writes for itself, and ids of each at most."""

Round = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Weights (N, K) and the Gram matrix (K, K) of their inputs to scales (N, G) and whole numbers (N, K)."""
Rounded = tuple[Tensor, Tensor]


@torch.no_grad()
def own_text(model: Transformer, bos: int) -> Tensor:
    """Ids (rows, T) that the model draws behind the first id of all texts, the same ones each time.

    What it writes is what it leans on, in its own languages, and it is there wherever the model is.
    """
    length = min(LENGTH, model.config.context)
    chance = torch.Generator().manual_seed(0)
    cache = Cache(model.config, batch=ROWS, capacity=length, dtype=torch.float32, device=torch.device("cpu"))
    ids_B1 = torch.full((ROWS, 1), bos)
    drawn = [ids_B1]
    with bar("a text to see what matters", total=length, unit="tokens") as progress:
        while len(drawn) < length:
            likely_BV = model(ids_B1, cache=cache)[:, -1].softmax(-1)
            ids_B1 = torch.multinomial(likely_BV, 1, generator=chance)
            drawn.append(ids_B1)
            progress.advance()
    return torch.cat(drawn, dim=1)


def stacked(weights: Sequence[Tensor]) -> Tensor:
    """Matrices over the same inputs as one, each padded with zeros to whole panels and groups."""
    return torch.cat(
        [
            F.pad(weight.float(), (0, padded(weight.shape[1], GROUP) - weight.shape[1], 0, -len(weight) % PANEL))
            for weight in weights
        ]
    )


def matrices_of(block: Block) -> Sequence[Sequence[Linear]]:
    """Those over the same inputs together: queries, keys and values; output; gate and up; down."""
    attention, forward = block.attention, block.feed_forward
    return [attention.wq, attention.wk, attention.wv], [attention.wo], [forward.w1, forward.w3], [forward.w2]


@torch.no_grad()
def rounded_blocks(model: Transformer, ids_BT: Tensor, round_: Round) -> Iterator[list[Rounded]]:
    """What becomes of each block's `matrices_of`. The model gets the rounded weights."""
    x_BTD = model.embedding(ids_BT)
    turn = rotation(model.config, torch.arange(ids_BT.shape[1]))
    for block in model.blocks:
        assert isinstance(block, Block)
        attention, forward = block.attention, block.feed_forward
        qkv, output, gate_up, down = matrices_of(block)
        inputs = block.attention_norm(x_BTD)
        rounded = [_round(qkv, inputs, round_)]
        found = _before_output(attention, inputs, turn)
        rounded.append(_round(output, found, round_))
        x_BTD = x_BTD + attention.wo(found)
        inputs = block.feed_forward_norm(x_BTD)
        rounded.append(_round(gate_up, inputs, round_))
        inner = F.silu(forward.w1(inputs)) * forward.w3(inputs)
        rounded.append(_round(down, inner, round_))
        x_BTD = x_BTD + forward.w2(inner)
        yield rounded


def _before_output(attention: Attention, inputs: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    seen: list[Tensor] = []
    hook = attention.wo.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        attention(inputs, turn, None, None, 0)
    finally:
        hook.remove()
    return seen[0]


def _round(parts: Sequence[Linear], inputs: Tensor, round_: Round) -> Rounded:
    x_NK = inputs.flatten(0, -2)
    x_NK = F.pad(x_NK, (0, -x_NK.shape[1] % GROUP))
    scales, ints = round_(stacked([part.weight for part in parts]), x_NK.t() @ x_NK / len(x_NK))
    weight_NK = ints.float() * scales.float().repeat_interleave(GROUP, 1)
    first = 0
    for part in parts:
        N, K = part.weight.shape
        part.weight.copy_(weight_NK[first : first + N, :K])
        first += padded(N, PANEL)
    return scales, ints
