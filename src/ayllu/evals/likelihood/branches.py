"""A model over many texts at once, without padding: rows of one beginning and branches that go on from it.

A row holds a beginning once and behind it every continuation; a branch sees the beginning and itself. What is computed
for each token alone (the products with the weights, nine tenths of the work) runs over the tokens of all rows in one
piece; only attention takes rows apart, a few of like length at a time. Rows may stand behind a *trunk*, whose keys and
values are computed once for all of them. On a processor with a C compiler all of this is code of our own (`fused`);
elsewhere, and for models with adapters, it is torch's.

Shapes in names: N tokens of all rows, R rows of a bunch, T tokens of its longest row, S tokens of the trunk, D width,
H query heads, K key/value heads, h head width, C columns of logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ayllu.evals.likelihood.fused.blocks import fused
from ayllu.evals.likelihood.rows import Row
from ayllu.model.attention import attend
from ayllu.model.rope import rotation
from ayllu.model.transformer import Block, Linear, Transformer

PADDING = 0.25
"""The share of a row that may be padding where rows are attended to together."""
SCORES = 1 << 22
"""Most attention scores of one head in one piece: their mask is held."""


@dataclass(frozen=True, slots=True)
class Trunk:
    """Keys and values of what all rows begin with, as the model that made it keeps them."""

    layers: Sequence[tuple[Tensor, Tensor]]
    """One pair a layer, each (1, K, S, h); none where the model is `fused`."""
    length: int
    """Tokens in it."""
    fused: Tensor | None = None
    """All of them, (L, 2, S, K h), not turned."""


@dataclass(frozen=True, slots=True)
class Bunch:
    """Rows that are attended to together: tokens `start` to `end` of all, rows padded on the right."""

    start: int
    end: int
    places_RT: Tensor | None
    """Which token stands where, counted from `start`; None where nothing is padded."""
    kept_N: Tensor | None
    """The places that are no padding, in order."""
    rows: int
    mask: Tensor | None


class Forward:
    """A model made ready to run rows in one type: each weight is cast once, however many passes and sets follow.

    Weights that are trained on meanwhile are not seen; make it anew. `own_code` is for tests: whether code of our own
    may compute it.
    """

    def __init__(self, model: Transformer, dtype: torch.dtype, *, own_code: bool = True) -> None:
        self.model, self.dtype = model, dtype
        self.device = model.embedding.weight.device
        self.fused = fused(model, dtype) if own_code else None
        blocks = () if self.fused is not None else model.blocks
        output = () if self.fused is not None else (model.output,)
        parts = [*output, *(part for block in blocks for part in _matrices(block))]  # type: ignore[arg-type]
        # A matrix under an adapter is no weight alone, nor one with a product of its own.
        plain = [part for part in parts if isinstance(part, Linear) and part.matmul is F.linear]
        self._weights: dict[nn.Module, Tensor] = {part: part.weight.detach().to(dtype) for part in plain}
        for block in blocks:
            for part in _matrices(block)[:2]:  # type: ignore[arg-type]
                if part in self._weights:
                    self._weights[part] = _paired(self._weights[part], model.config.head_width)

    @property
    def threads(self) -> int:
        """How many batches are best computed at a time."""
        return 1 if self.fused is None else torch.get_num_threads()

    def product(self, linear: nn.Module, x_ND: Tensor) -> Tensor:
        """What `linear` makes of x, in the type of both."""
        if linear in self._weights:
            return F.linear(x_ND, self._weights[linear])
        made: Tensor = linear(x_ND)
        return made

    def logits(self, x_ND: Tensor, columns: int) -> Iterator[tuple[int, Tensor]]:
        """The logits of all ids in the type of x, about so many columns at a time: the first of them, and (N, C)."""
        output: nn.Module = self.model.output
        if output in self._weights:
            parts = self._weights[output].split(columns)
            yield from ((number * columns, F.linear(x_ND, part)) for number, part in enumerate(parts))
        else:
            yield 0, output(x_ND)

    def trunk(self, ids: Sequence[int]) -> Trunk:
        """Keys and values of one beginning."""
        if self.fused is not None:
            return Trunk([], len(ids), self.fused.trunk(ids))
        kept: list[tuple[Tensor, Tensor]] = []
        nowhere = torch.tensor([], dtype=torch.long, device=self.device)
        self.hidden([Row(ids)], places=nowhere, keep=kept)
        return Trunk(kept, len(ids))

    def hidden(
        self,
        rows: Sequence[Row],
        *,
        places: Tensor | None = None,
        trunk: Trunk | None = None,
        keep: list[tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:
        """The normed residual stream (N, D) of all tokens, row after row, ready for the output projection; or of those
        at `places` alone, in order, for which the last layer's attention is the last that needs the others.

        Rows are best sorted by length. `keep` is given the keys and values of each layer; only for one row alone.
        """
        if self.fused is not None:
            return self.fused.hidden(rows, places=places, past=None if trunk is None else trunk.fused)
        past = trunk.length if trunk is not None else 0
        x_ND, positions_N = self._begun(rows, past)
        cos_Nh, sin_Nh = rotation(self.model.config, positions_N)
        turn_N1h = torch.complex(cos_Nh, sin_Nh)[:, None]
        bunches = list(_bunches(rows, past, self.dtype, self.device))
        last = len(self.model.blocks) - 1
        for layer, block in enumerate(self.model.blocks):
            behind = trunk.layers[layer] if trunk is not None else None
            needed = places if layer == last else None
            x_ND = self._block(block, x_ND, turn_N1h, bunches, behind, keep, needed)  # type: ignore[arg-type]
        return self.model.norm(x_ND)

    def _begun(self, rows: Sequence[Row], past: int) -> tuple[Tensor, Tensor]:
        """The embedded ids of all tokens, (N, D), and the position of each in its own text."""
        ids_N = torch.tensor([i for row in rows for ids in (row.beginning, *row.branches) for i in ids])
        positions_N = torch.tensor([past + at for row in rows for at in row.positions])
        x_ND = self.model.embedding(ids_N.to(self.device)).to(self.dtype)
        return x_ND, positions_N.to(self.device)

    def _block(
        self,
        block: Block,
        x_ND: Tensor,
        turn_N1h: Tensor,
        bunches: Sequence[Bunch],
        behind: tuple[Tensor, Tensor] | None,
        keep: list[tuple[Tensor, Tensor]] | None,
        needed: Tensor | None,
    ) -> Tensor:
        seen_ND = block.attention_norm(x_ND)
        q_NHh = self._turned(block.attention.wq, seen_ND, turn_N1h)
        k_NKh = self._turned(block.attention.wk, seen_ND, turn_N1h)
        v_NKh = self.product(block.attention.wv, seen_ND).unflatten(1, (-1, block.attention.head_width))
        if keep is not None:
            keep.append((k_NKh.transpose(0, 1)[None].contiguous(), v_NKh.transpose(0, 1)[None].contiguous()))
        parts = [_attended(bunch, q_NHh, k_NKh, v_NKh, behind) for bunch in bunches]
        y_ND = parts[0] if len(parts) == 1 else torch.cat(parts)
        if needed is not None:
            x_ND, y_ND = x_ND[needed], y_ND[needed]
        x_ND = x_ND + self.product(block.attention.wo, y_ND)
        mixer, seen_ND = block.feed_forward, block.feed_forward_norm(x_ND)
        gate_NF = F.silu(self.product(mixer.w1, seen_ND), inplace=True)
        return x_ND + self.product(mixer.w2, gate_NF.mul_(self.product(mixer.w3, seen_ND)))

    def _turned(self, linear: nn.Module, x_ND: Tensor, turn_N1h: Tensor) -> Tensor:
        """Queries or keys, rotated: (N, heads, h), the features that turn together side by side."""
        y_NHh = self.product(linear, x_ND).unflatten(1, (-1, 2 * turn_N1h.shape[-1]))
        if linear not in self._weights:
            y_NHh = y_NHh.unflatten(2, (2, -1)).transpose(2, 3).flatten(2)
        pairs_NHh = torch.view_as_complex(y_NHh.float().unflatten(2, (-1, 2)))
        return torch.view_as_real(pairs_NHh.mul_(turn_N1h)).flatten(2).to(x_ND.dtype)


def _paired(weight_ID: Tensor, h: int) -> Tensor:
    """The rows of queries or keys in another order, feature i of a head beside i + h/2.

    A rotation is then one product of complex numbers in place of nine passes over halves; that queries and keys are
    both in this order, no product of the two notices.
    """
    return weight_ID.unflatten(0, (-1, 2, h // 2)).transpose(1, 2).flatten(0, 2).contiguous()


def _matrices(block: Block) -> list[nn.Module]:
    attention, mixer = block.attention, block.feed_forward
    return [attention.wq, attention.wk, attention.wv, attention.wo, mixer.w1, mixer.w2, mixer.w3]


def ready(model: Transformer | Forward, dtype: torch.dtype | None) -> Forward:
    """A model made ready, in float32 unless said. ValueError where it already is, in another type."""
    if not isinstance(model, Forward):
        return Forward(model, dtype or torch.float32)
    if dtype not in {None, model.dtype}:
        raise ValueError(f"the model was made ready for {model.dtype}, not {dtype}")
    return model


def _attended(
    bunch: Bunch, q_NHh: Tensor, k_NKh: Tensor, v_NKh: Tensor, behind: tuple[Tensor, Tensor] | None
) -> Tensor:
    """What the tokens of a bunch take from those that they may see, (tokens, H h)."""

    def rows(x_NXh: Tensor) -> Tensor:
        part = x_NXh[bunch.start : bunch.end]
        if bunch.places_RT is None:
            return part.unflatten(0, (bunch.rows, -1)).transpose(1, 2)
        return part[bunch.places_RT].transpose(1, 2)

    q_RHTh, k_RKTh, v_RKTh = rows(q_NHh), rows(k_NKh), rows(v_NKh)
    if behind is not None:
        k_RKTh, v_RKTh = (
            torch.cat((past.expand(bunch.rows, -1, -1, -1), own), 2)
            for past, own in zip(behind, (k_RKTh, v_RKTh), strict=True)
        )
    y_ND = attend(q_RHTh, k_RKTh, v_RKTh, bunch.mask).transpose(1, 2).flatten(2).flatten(0, 1)
    return y_ND if bunch.kept_N is None else y_ND[bunch.kept_N]


def _bunches(rows: Sequence[Row], past: int, dtype: torch.dtype, device: torch.device) -> list[Bunch]:
    found: list[Bunch] = []
    lengths = [row.length for row in rows]
    first = start = 0
    while first < len(rows):
        longest = shortest = lengths[first]
        last = first + 1
        while last < len(rows):
            high, low = max(longest, lengths[last]), min(shortest, lengths[last])
            if low < (1 - PADDING) * high or (last + 1 - first) * high * (past + high) > SCORES:
                break
            longest, shortest, last = high, low, last + 1
        end = start + sum(lengths[first:last])
        found.append(_bunch(rows[first:last], start, end, past, dtype, device))
        first, start = last, end
    return found


def _bunch(rows: Sequence[Row], start: int, end: int, past: int, dtype: torch.dtype, device: torch.device) -> Bunch:
    lengths = [row.length for row in rows]
    longest = max(lengths)
    places_RT = kept_N = mask = None
    if min(lengths) < longest:
        sizes_R, steps_T = torch.tensor(lengths), torch.arange(longest)
        firsts_R = sizes_R.cumsum(0) - sizes_R
        valid_RT = steps_T < sizes_R[:, None]
        places_RT = (firsts_R[:, None] + steps_T.minimum(sizes_R[:, None] - 1)).to(device)
        kept_N = valid_RT.flatten().nonzero()[:, 0].to(device)
    # Padding stands last and is dropped: where all rows are single texts, plain causal attention is right.
    if past or any(sum(map(bool, row.branches)) > 1 for row in rows):
        mask = _mask(rows, longest, past, dtype).to(device)
    return Bunch(start, end, places_RT, kept_N, len(rows), mask)


def _mask(rows: Sequence[Row], longest: int, past: int, dtype: torch.dtype) -> Tensor:
    """0 where a token may look, minus infinity elsewhere: (R, 1, T, S + T). Padding sees itself."""
    branch_RT = torch.full((len(rows), longest), -1)
    for number, row in enumerate(rows):
        sizes = [len(row.beginning), *(len(branch) for branch in row.branches)]
        branch_RT[number, : row.length] = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    keys_R1T, queries_RT1 = branch_RT[:, None], branch_RT[:, :, None]
    seen_RTT = ((keys_R1T == 0) | (keys_R1T == queries_RT1)).tril()
    mask = torch.zeros(seen_RTT.shape, dtype=dtype).masked_fill_(~seen_RTT, float("-inf"))
    return F.pad(mask, (past, 0))[:, None]
