"""The blocks of a model on a processor: all but some products by code in C.

Eager torch passes five to nine times over the numbers of a norm, a rotation or a gate; attention of rows in a batch
pads them, and computes under a mask what no token sees. Here each is one pass, and of attention only what is seen is
computed. So are products in bfloat16 where the processor multiplies pairs of such numbers, at its own speed; all others
are oneDNN's. Those in float32 read the model's own weights, for a copy would double the memory.

Shapes in names: N tokens of all rows, D width, H query heads, K key/value heads, h head width, Q = H h, P = K h, F
feed-forward width, S tokens of the trunk, C columns of logits.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ayllu.evals.likelihood.fused.library import Layout, Segment, library
from ayllu.evals.likelihood.rows import Row
from ayllu.model.rope import rotation
from ayllu.model.transformer import Block, Linear, RMSNorm, Transformer

TYPES = {torch.bfloat16: "bf16", torch.float32: "float"}
COLUMNS = 4096
"""Of the logits that are made at a time: with a thousand rows they stay in the cache."""
ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether torch offers its products as its compiler uses them. In float32 `torch.mm` takes MKL, which on a processor of
another maker than Intel has half the speed."""


class Product:
    """x W', of a weight (out, in)."""

    def __init__(self, weight: Tensor, dtype: torch.dtype, loaded: ctypes.CDLL) -> None:
        self._outputs, self._weight = len(weight), weight.detach().to(dtype)
        self._loaded, self._least_rows = loaded, loaded.fused_least_rows() if dtype == torch.bfloat16 else 0
        if self._least_rows:
            self._weight = _in_panels(self._weight, loaded.fused_panel())
        elif ONEDNN and weight.dtype != dtype:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight)

    def __call__(self, x_ND: Tensor) -> Tensor:
        if not len(x_ND):
            return x_ND.new_empty(0, self._outputs)
        if self._least_rows:
            return self._own(x_ND)
        if not ONEDNN:
            return F.linear(x_ND, self._weight)
        made: Tensor = torch.ops.mkldnn._linear_pointwise(x_ND, self._weight, None, "none", [], "")
        return made

    def _own(self, x_ND: Tensor) -> Tensor:
        (N, D), least = x_ND.shape, self._least_rows
        padded_ND = F.pad(x_ND, (0, 0, 0, max(0, least - N)))
        out = x_ND.new_empty(len(padded_ND), self._outputs)

        def part(start: int, end: int) -> None:
            self._loaded.fused_times_bf16(
                _at(padded_ND, start), end - start, D, _at(self._weight, 0), self._outputs, _at(out, start)
            )

        shared(part, len(padded_ND), least)
        return out[:N]


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of a block."""

    q: Product
    k: Product
    v: Product
    output: Product
    gate: Product
    up: Product
    down: Product
    attention_norm: RMSNorm
    feed_forward_norm: RMSNorm


class Fused:
    """A model's blocks and output made ready in one type."""

    def __init__(self, model: Transformer, dtype: torch.dtype, loaded: ctypes.CDLL) -> None:
        self.config, self.kind, self._loaded = model.config, TYPES[dtype], loaded
        self.layers = [_layer(block, dtype, loaded) for block in model.blocks]  # type: ignore[arg-type]
        self.norm = model.norm
        parts = model.output.weight.split(COLUMNS)
        self._output = [(number * COLUMNS, Product(part, dtype, loaded)) for number, part in enumerate(parts)]

    def hidden(
        self,
        rows: Sequence[Row],
        x_ND: Tensor,
        positions_N: Tensor,
        *,
        places: Tensor | None,
        past: Sequence[tuple[Tensor, Tensor]] | None,
        keep: list[tuple[Tensor, Tensor]] | None,
    ) -> Tensor:
        """The normed stream behind the blocks, of all tokens or of those at `places`; x is overwritten.

        `past` has the keys and values of a trunk, not turned, each (S, P), for each layer; `keep` is given those of
        these tokens.
        """
        attention = Attention(self, rows, positions_N, 0 if past is None else len(past[0][0]))
        more_ND = None
        for number, layer in enumerate(self.layers):
            seen_ND = self._normed(x_ND, more_ND, layer.attention_norm)
            q_NQ, k_NP, v_NP = layer.q(seen_ND), layer.k(seen_ND), layer.v(seen_ND)
            if keep is not None:
                keep.append((k_NP, v_NP))
            y_NQ = attention(q_NQ, k_NP, v_NP, None if past is None else past[number])
            if places is not None and number == len(self.layers) - 1:
                x_ND, y_NQ = x_ND[places], y_NQ[places]
            seen_ND = self._normed(x_ND, layer.output(y_NQ), layer.feed_forward_norm)
            more_ND = layer.down(self._gated(layer.gate(seen_ND), layer.up(seen_ND)))
        return self._normed(x_ND, more_ND, self.norm)

    def logits(self, x_ND: Tensor) -> Iterator[tuple[int, Tensor]]:
        """The logits of all ids, some columns at a time: the first of them, and (N, C) in the type of x."""
        for first, product in self._output:
            yield first, product(x_ND)

    def log_totals(self, logits_NC: Tensor) -> Tensor:
        """The logarithm of the sum of e to the power of each row's numbers, (N) in float32."""
        N, C = logits_NC.shape
        largest_N, total_N = torch.full((N,), -torch.inf), torch.zeros(N)

        def part(start: int, end: int) -> None:
            self.call("exponents", _at(logits_NC, start), end - start, C, _at(largest_N, start), _at(total_N, start))

        shared(part, N)
        return total_N.log_().add_(largest_N)

    def call(self, name: str, *given: object) -> int | None:
        """A function of the library, for numbers of this type."""
        found: int | None = getattr(self._loaded, f"fused_{name}_{self.kind}")(*given)
        return found

    def _normed(self, x_ND: Tensor, more_ND: Tensor | None, norm: RMSNorm) -> Tensor:
        """x, to which `more` is added, and what the norm makes of it."""
        N, D = x_ND.shape
        seen_ND, weight_D = torch.empty_like(x_ND), norm.weight.detach().float().contiguous()

        def part(start: int, end: int) -> None:
            added = None if more_ND is None else _at(more_ND, start)
            given = (_at(x_ND, start), added, _at(weight_D, 0), _at(seen_ND, start))
            self.call("norm", *given, end - start, D, norm.epsilon)

        shared(part, N)
        return seen_ND

    def _gated(self, gate_NF: Tensor, up_NF: Tensor) -> Tensor:
        def part(start: int, end: int) -> None:
            self.call("gate", _at(gate_NF, start), _at(up_NF, start), (end - start) * gate_NF.shape[1])

        shared(part, len(gate_NF))
        return gate_NF


class Attention:
    """Attention of given rows, for every layer."""

    def __init__(self, fused: Fused, rows: Sequence[Row], positions_N: Tensor, past: int) -> None:
        self._fused = fused
        self._segments, self._firsts = _segments(rows)
        c = fused.config
        longest = max(past, int(positions_N.max()) + 1)
        self._tables = (*rotation(c, torch.arange(longest)), positions_N.int())  # they must not go before it does
        self._layout = Layout(c.heads, c.kv_heads, c.head_width, past, *(_at(table, 0) for table in self._tables))

    def __call__(self, q_NQ: Tensor, k_NP: Tensor, v_NP: Tensor, past: tuple[Tensor, Tensor] | None) -> Tensor:
        """What each token takes from those that it sees, (N, Q)."""
        y_NQ = torch.empty_like(q_NQ)
        tensors = [_at(x, 0) for x in (q_NQ, k_NP, v_NP)]
        tensors += [None, None] if past is None else [_at(x, 0) for x in past]  # type: ignore[list-item]

        def part(start: int, end: int) -> None:
            first, last = self._firsts[start], self._firsts[end]
            segments = ctypes.byref(self._segments, first * ctypes.sizeof(Segment))
            if not self._fused.call(
                "attend", ctypes.byref(self._layout), *tensors, segments, last - first, _at(y_NQ, 0)
            ):
                raise MemoryError("there is no memory for the scores of attention")

        shared(part, len(self._firsts) - 1)
        return y_NQ


def fused(model: Transformer, dtype: torch.dtype) -> Fused | None:
    """The blocks made ready; None where they do not fit, or there is no compiler."""
    c = model.config
    whole = c.width % 16 == 0 and c.feed_forward % 16 == 0 and c.head_width % 32 == 0
    if dtype not in TYPES or not whole or any(weight.device.type != "cpu" for weight in model.parameters()):
        return None
    if not all(isinstance(block, Block) and _plain(block) for block in model.blocks) or not _weight(model.output):
        return None
    loaded = library()
    return None if loaded is None else Fused(model, dtype, loaded)


def _plain(block: Block) -> bool:
    attention, mixer = block.attention, block.feed_forward
    parts = (attention.wq, attention.wk, attention.wv, attention.wo, mixer.w1, mixer.w2, mixer.w3)
    return all(map(_weight, parts)) and attention.gather is None


def _weight(part: nn.Module) -> bool:
    """Whether a matrix is a weight alone: under no adapter, with no product of its own."""
    return isinstance(part, Linear) and part.matmul is F.linear


def _layer(block: Block, dtype: torch.dtype, loaded: ctypes.CDLL) -> Layer:
    attention, mixer = block.attention, block.feed_forward
    parts = (attention.wq, attention.wk, attention.wv, attention.wo, mixer.w1, mixer.w3, mixer.w2)
    q, k, v, output, gate, up, down = (Product(part.weight, dtype, loaded) for part in parts)
    return Layer(q, k, v, output, gate, up, down, block.attention_norm, block.feed_forward_norm)


def _in_panels(weight_OD: Tensor, panel: int) -> Tensor:
    """A weight as `fused_times_bf16` reads it: panel by panel, of each pair of inputs all outputs of the panel."""
    padded = F.pad(weight_OD, (0, 0, 0, -len(weight_OD) % panel))
    return padded.unflatten(0, (-1, panel)).unflatten(2, (-1, 2)).transpose(1, 2).flatten(1).contiguous()


def _segments(rows: Sequence[Row]) -> tuple[ctypes.Array[Segment], list[int]]:
    """The stretches of all rows that go on by themselves, and the number of each row's first; at last that of all."""
    found: list[Segment] = []
    firsts, start = [], 0
    for row in rows:
        firsts.append(len(found))
        at, before = start, len(row.beginning)
        for place, part in enumerate((row.beginning, *row.branches)):
            if part:
                found.append(Segment(at, len(part), start, before if place else 0))
            at += len(part)
        start = at
    return (Segment * len(found))(*found), [*firsts, len(found)]


def _at(x: Tensor, row: int) -> int:
    """The address of a row."""
    return x.data_ptr() + row * x.stride(0) * x.element_size()


def shared(part: Callable[[int, int], None], count: int, least: int = 1) -> None:
    """Do `part` of the numbers up to `count`: each of torch's threads does some of them, at least so many."""
    threads = min(torch.get_num_threads(), count // least)
    if threads < 2:
        part(0, count)
        return
    ends = [count * share // threads for share in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, ends[:-1], ends[1:]))
