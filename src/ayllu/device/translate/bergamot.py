"""Firefox's small translation models (Bergamot, https://browser.mt), greedy, by numpy.

A file of Marian's holds a transformer whose decoder has simpler simple recurrent units (SSRU, Kim et al. 2019,
https://aclanthology.org/D19-5632) in the place of self-attention; its matrices are 8 bits with one scale each.
Shapes: S symbols of the source, T of the target, D model width, H heads, h head width, V vocabulary.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tokenizers

from ayllu.device.audio.pcm import Samples
from ayllu.device.models import Part, read
from ayllu.lab.error import UserError

FLOATS, BYTES = 0x404, 0x4101
"""Types of tensors in a file."""
HEADS, ENCODER, DECODER = 8, 6, 2
END = 0
LONGEST = 2.5
"""Symbols of the target for one of the source, at most."""
EPSILON = 1e-6


class Bergamot:
    """One direction."""

    def __init__(self, part: Part, cache: Path) -> None:
        files = read(part, cache)
        self.name = part.name
        try:
            self._tensors = dict(tensors(files["model"]))
            self._embedding_VD = self._tensors["Wemb"]
        except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
            raise UserError(f"{part.archive.filename} holds no translation model ({error}): delete it") from error
        self._tokenizer = tokenizers.Tokenizer.from_str(files["tokenizer"].decode())
        width = self._embedding_VD.shape[1]
        self._scale = float(np.sqrt(width))
        self._angles = np.exp(-np.log(1e4) / (width // 2 - 1) * np.arange(width // 2))

    def sentence(self, text: str) -> str:
        """One sentence in the other language."""
        ids = [*self._tokenizer.encode(text).ids, END]
        return str(self._tokenizer.decode(self._written(self._read(ids), int(LONGEST * len(ids)) + 4)))

    def _read(self, ids: list[int]) -> Samples:
        """The encoder: S x D."""
        x_SD: Samples = self._embedded(self._embedding_VD[ids], np.arange(len(ids)))
        for layer in range(1, ENCODER + 1):
            name = f"encoder_l{layer}_self"
            x_SD = self._attended(x_SD, self._linear(x_SD, name, "k"), self._linear(x_SD, name, "v"), name)
            x_SD = self._forward(x_SD, f"encoder_l{layer}_ffn")
        return x_SD

    def _written(self, read_SD: Samples, most: int) -> list[int]:
        """The decoder: the likeliest symbol each time."""
        layers = range(1, DECODER + 1)
        names = [f"decoder_l{layer}_context" for layer in layers]
        keys = [(self._linear(read_SD, name, "k"), self._linear(read_SD, name, "v")) for name in names]
        cells: list[Samples] = [np.zeros((1, read_SD.shape[1]), np.float32) for _ in layers]
        last, written = np.zeros((1, read_SD.shape[1]), np.float32), []
        for step in range(most):
            x_1D = self._embedded(last, np.array([step]))
            for place, layer in enumerate(layers):
                name = f"decoder_l{layer}_rnn"
                forget = np.asarray(1 / (1 + np.exp(-self._linear(x_1D, name, "f"))), np.float32)
                cells[place] = forget * cells[place] + (1 - forget) * (x_1D @ self._tensors[f"{name}_W"])
                x_1D = self._normal(x_1D + np.maximum(cells[place], 0), f"{name}_ffn")
                x_1D = self._attended(x_1D, *keys[place], names[place])
                x_1D = self._forward(x_1D, f"decoder_l{layer}_ffn")
            symbol = int((self._embedding_VD @ x_1D[0] + self._tensors["decoder_ff_logit_out_b"]).argmax())
            if symbol == END:
                break
            written.append(symbol)
            last = self._embedding_VD[symbol][None]
        return written

    def _embedded(self, x_TD: Samples, places_T: np.ndarray) -> Samples:
        """With what tells the place of each symbol."""
        angles = places_T[:, None] * self._angles
        return np.asarray(x_TD * self._scale + np.concatenate([np.sin(angles), np.cos(angles)], axis=1), np.float32)

    def _linear(self, x: Samples, name: str, which: str) -> Samples:
        return np.asarray(x @ self._tensors[f"{name}_W{which}"] + self._tensors[f"{name}_b{which}"])

    def _normal(self, x: Samples, name: str) -> Samples:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
        return np.asarray(centred / spread * self._tensors[f"{name}_ln_scale"] + self._tensors[f"{name}_ln_bias"])

    def _forward(self, x: Samples, name: str) -> Samples:
        inner = np.maximum(self._linear(x, name, "1"), 0)
        return self._normal(x + self._linear(inner, name, "2"), f"{name}_ffn")

    def _attended(self, x_TD: Samples, keys_SD: Samples, values_SD: Samples, name: str) -> Samples:
        heads = [
            part.reshape(len(part), HEADS, -1).transpose(1, 0, 2)
            for part in (self._linear(x_TD, name, "q"), keys_SD, values_SD)
        ]
        queries_HTh, keys_HSh, values_HSh = heads
        scores_HTS = queries_HTh @ keys_HSh.transpose(0, 2, 1) / np.sqrt(np.float32(queries_HTh.shape[-1]))
        weights_HTS = np.exp(scores_HTS - scores_HTS.max(axis=-1, keepdims=True))
        weights_HTS /= weights_HTS.sum(axis=-1, keepdims=True)
        seen_TD = (weights_HTS @ values_HSh).transpose(1, 0, 2).reshape(x_TD.shape)
        return self._normal(x_TD + self._linear(seen_TD, name, "o"), f"{name}_Wo")


def tensors(data: bytes) -> Iterator[tuple[str, Samples]]:
    """Names and values in a file of Marian's: headers, names, shapes, and the tensors behind some bytes of nothing.

    A matrix of bytes is transposed, but for the embeddings, and its scale stands behind it.
    """
    _, count = struct.unpack_from("<QQ", data)
    heads = [struct.unpack_from("<4Q", data, 16 + 32 * place) for place in range(count)]
    at, names, shapes = 16 + 32 * count, [], []
    for length, *_ in heads:
        names.append(data[at : at + length - 1].decode())
        at += length
    for _, _, axes, _ in heads:
        shapes.append(struct.unpack_from(f"<{axes}i", data, at))
        at += 4 * axes
    at += 8 + struct.unpack_from("<Q", data, at)[0]
    for (_, kind, _, size), name, shape in zip(heads, names, shapes, strict=True):
        numbers = int(np.prod(shape))
        if kind == FLOATS:
            yield name, np.frombuffer(data, np.float32, numbers, at)
        elif kind == BYTES and numbers > 1:
            (scale,) = struct.unpack_from("<f", data, at + numbers)
            values = np.frombuffer(data, np.int8, numbers, at).astype(np.float32) / np.float32(scale)
            yield name, values.reshape(shape) if name == "Wemb" else values.reshape(shape[::-1]).T.copy()
        at += size
