"""A model's weights as the C engine takes them, packed once and kept beside the downloads."""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ayllu.data.archive import default_cache
from ayllu.lab.progress import say
from ayllu.model.config import ModelConfig
from ayllu.model.files import hf
from ayllu.model.rope import rotation
from ayllu.model.transformer import Block, Transformer
from ayllu.serve.engines.native.kept import is_whole, keep
from ayllu.serve.engines.native.library import Draw, Matrix, Shape, Step, library
from ayllu.serve.engines.native.pack import BITS, GROUP, PANEL, pack, padded
from ayllu.serve.engines.native.scheduler import Answer, Row

FORMAT = 2
"""Changes with the layout of a packed file."""
HEAD_BITS = 8
"""Least bits of embedding and output projection: errors there fall on every token, as llama.cpp has it in its Q4_0."""
MOST_ROWS = 512
"""Tokens of one step at most."""
MOST_GROUP = 64
"""Query heads to a key head that the C code has room for."""


def unfit(config: ModelConfig) -> str | None:
    """Why the engine cannot compute this shape, or None."""
    if config.head_width % PANEL:
        return f"its heads are {config.head_width} wide, which is no multiple of {PANEL}"
    if config.heads // config.kv_heads > MOST_GROUP:
        return f"it has {config.heads // config.kv_heads} query heads to a key head"
    return None


def packed(folder: Path, bits: int, *, cache: Path | None = None) -> Path:
    """The file of the packed weights of `folder`, written unless it is there and whole.

    Raises ValueError on other bits.
    """
    if bits not in BITS:
        raise ValueError(f"bits is {bits}; choose one of {', '.join(map(str, BITS))}")
    told = [FORMAT, bits, HEAD_BITS, (folder / "config.json").read_text(encoding="utf-8")]
    for file in sorted(folder.glob("*.safetensors")):
        state = file.resolve().stat()
        told.append([str(file.resolve()), state.st_size, state.st_mtime_ns, state.st_ino])
    name = f"{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]}-{bits}.packed"
    path = (cache or default_cache()) / "native" / name
    if is_whole(path):
        return path
    say(f"packing the weights into {bits} bits, once")
    path.parent.mkdir(parents=True, exist_ok=True)
    model = hf.load(folder)
    with tempfile.TemporaryDirectory(dir=path.parent) as made:
        with (Path(made) / name).open("wb") as written:
            for data in _parts(model, bits):
                written.write(data.tobytes())
            written.flush()
            os.fsync(written.fileno())
        keep(Path(made) / name, path)
    return path


def layout(config: ModelConfig, bits: int) -> Iterator[tuple[int, int, int]]:
    """Outputs, inputs and bits of each matrix of a packed file; behind them stand the norms, float32."""
    D, F, inner = config.width, config.feed_forward, config.heads * config.head_width
    head_bits = max(bits, HEAD_BITS)
    for _ in range(1 if config.tied else 2):
        yield config.vocabulary, D, head_bits
    for _ in range(config.layers):
        yield inner + 2 * config.kv_heads * config.head_width, D, bits
        yield D, inner, bits
        yield 2 * padded(F, PANEL), D, bits
        yield D, F, bits


@torch.no_grad()
def _parts(model: Transformer, bits: int) -> Iterator[NDArray[np.generic]]:
    config, F = model.config, model.config.feed_forward
    matrices = iter(layout(config, bits))
    for weight in [model.embedding.weight] if config.tied else [model.embedding.weight, model.output.weight]:
        yield pack(weight, next(matrices)[2])
    norms = [model.norm.weight]
    for block in model.blocks:
        assert isinstance(block, Block)
        attention, forward = block.attention, block.feed_forward
        gap = torch.zeros(padded(F, PANEL) - F, config.width)
        for weight in (
            torch.cat([attention.wq.weight, attention.wk.weight, attention.wv.weight]),
            attention.wo.weight,
            torch.cat([forward.w1.weight, gap, forward.w3.weight, gap]),
            forward.w2.weight,
        ):
            yield pack(weight, next(matrices)[2])
        norms += [block.attention_norm.weight, block.feed_forward_norm.weight]
    yield torch.cat([weight.detach().float() for weight in norms]).numpy()


class NativeModel:
    """The C engine over a file of packed weights, which is mapped and not copied."""

    def __init__(self, config: ModelConfig, file: Path, bits: int, *, context: int, pages: int, threads: int) -> None:
        """Raises ValueError where the file is not as long as the shape wants, MemoryError where there is no room."""
        self.config, self._library = config, library()
        with file.open("rb") as opened:
            self._file = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        content = np.frombuffer(self._file, dtype=np.uint8)
        at, found = 0, []
        for rows, columns, each in layout(config, bits):
            whole_rows, whole_columns = padded(rows, PANEL), padded(columns, GROUP)
            found.append(Matrix(whole_rows, whole_columns, each, content.ctypes.data + at))
            at += whole_rows * whole_columns * each // 8
            at += 0 if each == 16 else whole_rows * whole_columns // GROUP * 2
        norms = 1 + 2 * config.layers
        if at + norms * config.width * 4 != len(content):
            raise ValueError(f"{file} is not as long as the model's shape wants; delete it and start again")
        if config.tied:
            found.insert(0, found[0])
        starts = [content.ctypes.data + at + 4 * config.width * number for number in range(norms)]
        self._turns = [table.contiguous().numpy() for table in rotation(config, torch.arange(context))]
        shape = Shape(
            config.layers,
            config.width,
            config.heads,
            config.kv_heads,
            config.head_width,
            config.feed_forward,
            config.vocabulary,
            config.norm_epsilon,
        )
        self._handle = self._library.native_new(
            ctypes.byref(shape),
            (Matrix * len(found))(*found),
            (ctypes.c_void_p * norms)(*starts),
            self._turns[0].ctypes.data,
            self._turns[1].ctypes.data,
            pages,
            MOST_ROWS,
            threads,
        )
        if not self._handle:
            raise MemoryError("there is not enough memory for the native engine")
        self._logits_NV = np.empty((0, padded(config.vocabulary, PANEL)), dtype=np.float32)
        self._among = np.empty(2 * config.vocabulary, dtype=np.float32)

    @property
    def kernels(self) -> str:
        """Which of the processor's abilities are used."""
        return bytes(self._library.native_kernels()).decode()

    def step(self, rows: Sequence[Row], wanted: Sequence[int]) -> None:
        """Compute all rows, at most `MOST_ROWS`; logits are kept of the `wanted` ones, in that order."""
        place: dict[int, int] = {}
        tables: list[Sequence[int]] = []
        for row in rows:
            if place.setdefault(id(row.pages), len(tables)) == len(tables):
                tables.append(row.pages)
        longest = max(map(len, tables))
        table_SP = np.zeros((len(tables), longest), dtype=np.int32)
        for number, pages in enumerate(tables):
            table_SP[number, : len(pages)] = pages
        ids = np.array([row.id for row in rows], dtype=np.int32)
        positions = np.array([row.position for row in rows], dtype=np.int32)
        sequences = np.array([place[id(row.pages)] for row in rows], dtype=np.int32)
        asked = np.array(wanted, dtype=np.int32)
        if len(self._logits_NV) < len(wanted):
            self._logits_NV = np.empty((len(wanted), self._logits_NV.shape[1]), dtype=np.float32)
        step = Step(
            len(rows),
            ids.ctypes.data,
            positions.ctypes.data,
            sequences.ctypes.data,
            table_SP.ctypes.data,
            longest,
            asked.ctypes.data,
            len(wanted),
            self._logits_NV.ctypes.data,
        )
        self._library.native_step(self._handle, ctypes.byref(step))

    def logits(self, place: int) -> NDArray[np.float32]:
        """What the last step found for the row at `place` of the wanted ones, (V)."""
        return self._logits_NV[place, : self.config.vocabulary]

    def pick(self, place: int, answer: Answer) -> int:
        """Draw the id that follows the row at `place`; its logits are gone afterwards.

        Raises ValueError where they are no numbers: weights or activations were too large, or the weights are damaged.
        """
        sampling = answer.sampling
        penalty = sampling.repetition_penalty
        seen = np.array(answer.ids if penalty != 1.0 else [], dtype=np.int32)
        draw = Draw(sampling.temperature, sampling.top_p, penalty, sampling.top_k, answer.chance.random())
        token = int(
            self._library.native_pick(
                self._logits_NV[place].ctypes.data,
                self.config.vocabulary,
                seen.ctypes.data,
                len(seen),
                ctypes.byref(draw),
                self._among.ctypes.data,
            )
        )
        if token < 0:
            raise ValueError("the model computes no numbers here (NaN or infinity); try more bits or another engine")
        return token

    def close(self) -> None:
        """Free the engine's memory; nothing may be computed after that."""
        if self._handle:
            self._library.native_free(self._handle)
            self._handle = None
