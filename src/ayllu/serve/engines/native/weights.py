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
from numpy.typing import NDArray

from ayllu.data.archive import default_cache
from ayllu.lab.made.kept import is_whole, keep
from ayllu.lab.progress import say
from ayllu.model.config import ModelConfig
from ayllu.model.frequencies import inverse_frequencies
from ayllu.serve.engines.engine import DrawnToken
from ayllu.serve.engines.native.draw import Picker
from ayllu.serve.engines.native.library import Matrix, Shape, Step, library
from ayllu.serve.engines.native.low_rank import Adapters
from ayllu.serve.engines.native.panels import BITS, GROUP, HEAD_BITS, PANEL, padded
from ayllu.serve.engines.native.scheduler import Answer, Row

FORMAT = 4
"""Changes with the layout of a packed file, and with how weights are rounded."""
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
    # What packs needs torch, and what computes does not: it takes seconds and some hundred MiB.
    from ayllu.serve.engines.native.pack import parts

    with tempfile.TemporaryDirectory(dir=path.parent) as made:
        with (Path(made) / name).open("wb") as written:
            for data in parts(folder, bits):
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


class NativeModel:
    """The C engine over a file of packed weights, which is mapped and not copied."""

    def __init__(
        self,
        config: ModelConfig,
        file: Path,
        bits: int,
        *,
        context: int,
        pages: int,
        threads: int,
        cache_bits: int = 16,
        adapters: Adapters | None = None,
    ) -> None:
        """Keys and values are kept in `cache_bits`, 8 or 16; rows may name one of `adapters`.

        Raises ValueError where the file is not as long as the shape wants, MemoryError where there is no room.
        """
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
        angles_Th = np.arange(context, dtype=np.float32)[:, None] * np.array(inverse_frequencies(config), np.float32)
        self._turns = [np.cos(angles_Th), np.sin(angles_Th)]
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
            cache_bits,
            MOST_ROWS,
            threads,
        )
        if not self._handle:
            raise MemoryError("there is not enough memory for the native engine")
        self._adapters = adapters
        if adapters and not self._library.native_adapt(self._handle, adapters.parts, len(adapters.number)):
            raise MemoryError("there is not enough memory for the adapters")
        self._logits_NV = np.empty((0, padded(config.vocabulary, PANEL)), dtype=np.float32)
        self._picker = Picker(self._library, config.vocabulary)

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
        adapters = np.array([row.adapter for row in rows], dtype=np.int32)
        if len(self._logits_NV) < len(wanted):
            self._logits_NV = np.empty((len(wanted), self._logits_NV.shape[1]), dtype=np.float32)
        step = Step(
            len(rows),
            ids.ctypes.data,
            positions.ctypes.data,
            sequences.ctypes.data,
            table_SP.ctypes.data,
            longest,
            adapters.ctypes.data if self._adapters else None,
            asked.ctypes.data,
            len(wanted),
            self._logits_NV.ctypes.data,
        )
        self._library.native_step(self._handle, ctypes.byref(step))

    def logits(self, place: int) -> NDArray[np.float32]:
        """What the last step found for the row at `place` of the wanted ones, (V)."""
        return self._logits_NV[place, : self.config.vocabulary]

    def pick(self, place: int, answer: Answer) -> int | DrawnToken:
        """Draw the id that follows the row at `place`, as `Picker.pick`; its logits are gone afterwards."""
        return self._picker.pick(self._logits_NV[place], answer)

    def told(self, place: int, token: int, count: int) -> DrawnToken:
        """How likely `token` is behind the row at `place`, and the `count` likeliest; before an id is drawn there."""
        return self._picker.told(self._logits_NV[place], token, count)

    def close(self) -> None:
        """Free the engine's memory; nothing may be computed after that."""
        if self._handle:
            self._library.native_free(self._handle)
            self._handle = None
