"""A model on a processor, from ids to log-likelihoods in C of our own: a thread a pass, and a pass for some rows each.

Threads that share out every product wait for each other thousands of times a second, and all of them for the slowest;
here they meet where a pass ends. Eager torch passes five to nine times over the numbers of a norm, a rotation or a
gate, pads rows for attention and computes under a mask what no token sees; here each is one pass over what is seen.

In bfloat16 activations are 16 bits where the processor multiplies pairs of such numbers, and weights lie packed for it;
elsewhere activations are float32, and only weights are rounded. In float32 the model's own weights are read, for a copy
would double the memory.

Shapes in names: N tokens of all rows, M of those the ones whose states are wanted, D width, P = K h keys of all heads,
L layers, S tokens of the trunk.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ayllu.evals.likelihood.fused.library import Asked, Layer, Layout, Model, Rows, Segment, Weights, library
from ayllu.evals.likelihood.rows import Row
from ayllu.model.rope import rotation
from ayllu.model.transformer import Block, Linear, Transformer

Ints = npt.NDArray[np.int32]
COLUMNS = 512
"""Of the logits that are made at a time: with a thousand rows they stay in the cache."""


class Fused:
    """A model made ready in one type."""

    def __init__(self, model: Transformer, dtype: torch.dtype, loaded: ctypes.CDLL) -> None:
        self._config = model.config
        self._halves = dtype == torch.bfloat16
        self._pairs = self._halves and bool(loaded.fused_pairs())
        self.dtype = torch.bfloat16 if self._pairs else torch.float32
        """Of what stands between the products."""
        kind = "bf16" if self._pairs else "float"
        self._hidden, self._predict = (getattr(loaded, f"fused_{name}_{kind}") for name in ("hidden", "predict"))
        self._panel: int = loaded.fused_panel()
        self._held: list[Tensor] = []  # what the structures point at
        self._model = self._told(model)
        self._tables = rotation(model.config, torch.arange(0))

    def hidden(self, rows: Sequence[Row], *, places: Tensor | None, past: Tensor | None) -> Tensor:
        """The normed stream behind the blocks, (M, D), of all tokens or of those at `places`, which stand in order.

        `past` has the keys and values of a trunk, as `trunk` gives them.
        """
        N = sum(row.length for row in rows)
        places_M = None if places is None else places.numpy().astype(np.int32)
        out = torch.empty(N if places_M is None else len(places_M), self._config.width, dtype=self.dtype)
        self._passed(rows, past, places_M, out, None)
        return out

    def trunk(self, ids: Sequence[int]) -> Tensor:
        """Keys and values of one beginning, not turned, (L, 2, S, P)."""
        c = self._config
        keep = torch.empty(c.layers, 2, len(ids), c.kv_heads * c.head_width, dtype=self.dtype)
        self._passed([Row(ids)], None, np.empty(0, np.int32), None, keep)
        return keep

    def _passed(
        self, rows: Sequence[Row], past: Tensor | None, places_M: Ints | None, out: Tensor | None, keep: Tensor | None
    ) -> None:
        c, behind = self._config, 0 if past is None else past.shape[2]
        ids_N = np.array([i for row in rows for ids in (row.beginning, *row.branches) for i in ids], np.int32)
        positions_N = np.array([behind + at for row in rows for at in row.positions], np.int32)
        turns = self._turns(max(behind, int(positions_N.max(initial=0)) + 1))
        tables = (*(turn.data_ptr() for turn in turns), _at(positions_N))
        layout = Layout(c.heads, c.kv_heads, c.head_width, behind, *tables)
        segments = _segments(rows)
        given = Rows(
            ids=_at(ids_N),
            count=len(ids_N),
            segments=segments,
            segment_count=len(segments),
            places=None if places_M is None else _at(places_M),
            wanted=-1 if places_M is None else len(places_M),
            past=None if past is None else past.data_ptr(),
            keep=None if keep is None else keep.data_ptr(),
        )
        if not self._hidden(self._model, layout, given, None if out is None else out.data_ptr()):
            raise MemoryError(f"there is no memory for a pass of {len(ids_N)} tokens")

    def predicted(self, state_MD: Tensor, rows: Tensor, ids: Tensor, *, greedy: bool) -> tuple[Tensor, Tensor]:
        """The log-likelihood of each id behind its row, float32, and with `greedy` whether it is the likeliest."""
        rows_P, ids_P = rows.numpy().astype(np.int32), ids.numpy().astype(np.int32)
        values_P, likeliest_M = np.empty(len(ids_P), np.float32), np.empty(len(state_MD), np.int32)
        columns = -(-COLUMNS // self._panel) * self._panel
        asked = Asked(len(ids_P), _at(rows_P), _at(ids_P), _at(values_P), _at(likeliest_M) if greedy else None, columns)
        if not self._predict(self._model, state_MD.data_ptr(), len(state_MD), asked):
            raise MemoryError(f"there is no memory for the logits of {len(state_MD)} tokens")
        likeliest_P = likeliest_M[rows_P] == ids_P if greedy else np.zeros(len(ids_P), bool)
        return torch.from_numpy(values_P), torch.from_numpy(likeliest_P)

    def _told(self, model: Transformer) -> Model:
        """The model as the code reads it."""
        table = model.embedding.weight.detach()
        table = self._kept(table if table.dtype in {torch.float32, torch.bfloat16} else table.float())
        blocks = [self._layer(block) for block in model.blocks]  # type: ignore[arg-type]
        return Model(
            width=model.config.width,
            feed_forward=model.config.feed_forward,
            layers=len(blocks),
            epsilon=model.norm.epsilon,
            embedding=table.data_ptr(),
            embedding_halves=table.dtype == torch.bfloat16,
            rounded=self._halves,
            blocks=(Layer * len(blocks))(*blocks),
            norm=self._kept(model.norm.weight.float()).data_ptr(),
            head=self._weights(model.output),
        )

    def _layer(self, block: Block) -> Layer:
        attention, mixer = block.attention, block.feed_forward
        parts = (attention.wq, attention.wk, attention.wv, attention.wo, mixer.w1, mixer.w3, mixer.w2)
        norms = (block.attention_norm.weight, block.feed_forward_norm.weight)
        return Layer(*map(self._weights, parts), *(self._kept(norm.float()).data_ptr() for norm in norms))

    def _weights(self, part: Linear) -> Weights:
        weight_OD = part.weight.detach().to(torch.bfloat16 if self._halves else torch.float32)
        kept = self._kept(_in_panels(weight_OD, self._panel) if self._pairs else weight_OD)
        return Weights(kept.data_ptr(), *reversed(weight_OD.shape), self._halves)

    def _kept(self, x: Tensor) -> Tensor:
        self._held.append(x.detach().contiguous())
        return self._held[-1]

    def _turns(self, positions: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the first positions; more of them than were asked for before are made anew."""
        tables = self._tables
        if len(tables[0]) < positions:
            tables = self._tables = rotation(self._config, torch.arange(1 << positions.bit_length()))
        return tables


def fused(model: Transformer, dtype: torch.dtype) -> Fused | None:
    """A model made ready; None where it does not fit, there is no compiler, or torch multiplies tiles of bfloat16."""
    c = model.config
    whole = c.width % 16 == 0 and c.feed_forward % 16 == 0 and c.head_width % 32 == 0
    known = dtype in {torch.bfloat16, torch.float32}
    if not known or not whole or any(weight.device.type != "cpu" for weight in model.parameters()):
        return None
    if not all(isinstance(block, Block) and _plain(block) for block in model.blocks) or not _weight(model.output):
        return None
    loaded = library()
    if loaded is None or (dtype == torch.bfloat16 and loaded.fused_tiles()):
        return None
    return Fused(model, dtype, loaded)


def _plain(block: Block) -> bool:
    attention, mixer = block.attention, block.feed_forward
    parts = (attention.wq, attention.wk, attention.wv, attention.wo, mixer.w1, mixer.w2, mixer.w3)
    return all(map(_weight, parts)) and attention.gather is None


def _weight(part: nn.Module) -> bool:
    """Whether a matrix is a weight alone: under no adapter, with no product of its own."""
    return isinstance(part, Linear) and part.matmul is F.linear


def _in_panels(weight_OD: Tensor, panel: int) -> Tensor:
    """A weight as `times_bf16` reads it: panel by panel, of each pair of inputs all outputs of the panel."""
    padded = F.pad(weight_OD, (0, 0, 0, -len(weight_OD) % panel))
    return padded.unflatten(0, (-1, panel)).unflatten(2, (-1, 2)).transpose(1, 2).flatten(1)


def _segments(rows: Sequence[Row]) -> ctypes.Array[Segment]:
    """The stretches of all rows that go on by themselves."""
    found: list[Segment] = []
    start = 0
    for row in rows:
        at, before = start, len(row.beginning)
        for place, part in enumerate((row.beginning, *row.branches)):
            if part:
                found.append(Segment(at, len(part), start, before if place else 0))
            at += len(part)
        start = at
    return (Segment * len(found))(*found)


def _at(numbers: npt.NDArray[Any]) -> int:
    return numbers.ctypes.data
