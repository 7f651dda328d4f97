"""LoRA adapters as the engine's kernels read them, packed once and kept beside the downloads.

A packed adapter begins with the rank of each part, int32 by layer, matrix and part, 0 where there is nothing. Then,
part by part, A and B in float32: A as panels of 16 of its rows, B as panels of 16 outputs, B times the adapter's scale.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ayllu.data.archive import default_cache
from ayllu.lab.error import UserError
from ayllu.lab.made.kept import is_whole, keep
from ayllu.model.config import ModelConfig
from ayllu.serve.engines.native.library import LowRank
from ayllu.serve.engines.native.panels import GROUP, PANEL, padded

FORMAT = 1
"""Changes with the layout of a packed adapter."""
PARTS = 3
"""Of a matrix at most, as in native.h."""


def places(config: ModelConfig) -> Sequence[Sequence[tuple[str, int, int, int]]]:
    """The matrices of a layer in the engine's order; of each its parts: name, first output, outputs, inputs."""
    D, F = config.width, config.feed_forward
    inner, kept = config.heads * config.head_width, config.kv_heads * config.head_width
    both = padded(F, PANEL)
    return (
        (
            ("attention.wq", 0, inner, D),
            ("attention.wk", inner, kept, D),
            ("attention.wv", inner + kept, kept, D),
        ),
        (("attention.wo", 0, D, inner),),
        (("feed_forward.w1", 0, F, D), ("feed_forward.w3", both, F, D)),
        (("feed_forward.w2", 0, D, F),),
    )


def packed_adapters(folders: Mapping[str, Path], config: ModelConfig, *, cache: Path | None = None) -> dict[str, Path]:
    """The packed file of each adapter, written unless it is there and whole. UserError where one cannot be served."""
    return {
        name: _packed(name, folder, config, (cache or default_cache()) / "native") for name, folder in folders.items()
    }


def _packed(name: str, folder: Path, config: ModelConfig, place: Path) -> Path:
    told: list[object] = [FORMAT, repr(config)]
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        try:
            state = (folder / file).resolve().stat()
        except OSError:
            continue  # whoever reads it says so
        told.append([str((folder / file).resolve()), state.st_size, state.st_mtime_ns, state.st_ino])
    path = place / f"{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]}.adapter"
    if is_whole(path):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    data = _data(name, folder, config)
    with tempfile.TemporaryDirectory(dir=path.parent) as made:
        with (Path(made) / path.name).open("wb") as written:
            written.write(data)
            written.flush()
            os.fsync(written.fileno())
        keep(Path(made) / path.name, path)
    return path


def _data(name: str, folder: Path, config: ModelConfig) -> bytes:
    from ayllu.serve.engines.adapters import read_adapters  # which needs torch

    matrices = read_adapters({name: folder}, config)[name].matrices
    ranks = np.zeros((config.layers, len(places(config)), PARTS), np.int32)
    found: list[bytes] = []
    for layer in range(config.layers):
        for number, parts in enumerate(places(config)):
            for part, (matrix, _, outputs, inputs) in enumerate(parts):
                low = matrices.get(f"blocks.{layer}.{matrix}.weight")
                if low is None:
                    continue
                a, b = low.a.numpy(), (low.b * low.scale).numpy()
                rank = padded(len(a), PANEL)
                ranks[layer, number, part] = rank
                a_RK = np.zeros((rank, padded(inputs, GROUP)), np.float32)
                a_RK[: len(a), :inputs] = a
                b_NR = np.zeros((padded(outputs, PANEL), rank), np.float32)
                b_NR[:outputs, : len(a)] = b
                found += [_panels(a_RK), _panels(b_NR)]
    return b"".join([ranks.tobytes(), *found])


def _panels(values: NDArray[np.float32]) -> bytes:
    """Panels of 16 rows, within which rows lie side by side."""
    return values.reshape(len(values) // PANEL, PANEL, -1).transpose(0, 2, 1).tobytes()


class Adapters:
    """The packed adapters of an engine, mapped and not copied, in the order of their names."""

    def __init__(self, files: Mapping[str, Path], config: ModelConfig) -> None:
        """Raises UserError where a file is not as long as it says."""
        self.number = {name: number for number, name in enumerate(files)}
        matrices = places(config)
        each = config.layers * len(matrices) * PARTS
        self.parts = (LowRank * (each * len(files)))()
        self._files: list[mmap.mmap] = []
        for number, file in enumerate(files.values()):
            with file.open("rb") as opened:
                self._files.append(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
            content = np.frombuffer(self._files[-1], dtype=np.uint8)
            ranks, at = content[: 4 * each].view(np.int32), 4 * each
            for place, rank in enumerate(map(int, ranks)):
                matrix, part = divmod(place % (len(matrices) * PARTS), PARTS)
                if rank:
                    _, first, outputs, inputs = matrices[matrix][part]
                    rows, columns = padded(outputs, PANEL), padded(inputs, GROUP)
                    start = content.ctypes.data + at
                    self.parts[number * each + place] = LowRank(first, rows, rank, start, start + 4 * rank * columns)
                    at += 4 * rank * (rows + columns)
            if at != len(content):
                raise UserError(f"{file} is not as long as it says; delete it and start again")
