"""Encodings of sound on the wire, and streaming between rates. Samples are float32 from -1 to 1, one channel."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

TAPS = 16
"""Zero crossings of the resampler's filter on each side."""


def from_pcm16(data: bytes) -> Samples:
    """Samples of little-endian 16-bit PCM; ValueError where a sample is cut."""
    if len(data) % 2:
        raise ValueError("the sound ends within a sample: pcm16 has two bytes for each")
    return np.asarray(np.frombuffer(data, "<i2") / 32768, np.float32)


def to_pcm16(audio: Samples) -> bytes:
    """Little-endian 16-bit PCM; what is beyond full scale is clipped."""
    return np.clip(np.round(audio * 32768), -32768, 32767).astype("<i2").tobytes()


@functools.cache
def _decoded(law: str) -> Samples:
    """The 256 values of a G.711 code, as its tables define them."""
    code = np.arange(256)
    if law == "ulaw":
        inverted = ~code & 0xFF
        exponent, mantissa = (inverted >> 4) & 7, inverted & 15
        size = (((mantissa << 3) + 132) << exponent) - 132
        sign = np.where(inverted & 128, -1, 1)
    else:
        inverted = code ^ 0x55
        exponent, mantissa = (inverted >> 4) & 7, inverted & 15
        size = np.where(exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 264) << np.maximum(exponent - 1, 0))
        sign = np.where(inverted & 128, 1, -1)
    return np.asarray(sign * size / 32768, np.float32)


@functools.cache
def _encoded(law: str) -> npt.NDArray[np.uint8]:
    """The nearest code of each 16-bit value, from -32768."""
    values = _decoded(law)
    order = np.argsort(values, kind="stable")
    middles = (values[order][1:] + values[order][:-1]) / 2
    return order[np.searchsorted(middles, np.arange(-32768, 32768) / 32768)].astype(np.uint8)


def from_g711(data: bytes, law: str) -> Samples:
    """Samples of G.711, `ulaw` or `alaw`, one byte each (ITU-T G.711)."""
    return _decoded(law)[np.frombuffer(data, np.uint8)]


def to_g711(audio: Samples, law: str) -> bytes:
    """G.711, `ulaw` or `alaw`."""
    values = np.clip(np.round(audio * 32768), -32768, 32767).astype(np.int32)
    return _encoded(law)[values + 32768].tobytes()


class Resampler:
    """Another rate, as the sound comes: after n samples and `flush`, exactly round(n * target / source) have come out.

    A windowed sinc, low-passed below the lower of the two rates. Pieces of any size give the same samples as one.
    """

    def __init__(self, source: int, target: int) -> None:
        if source <= 0 or target <= 0:
            raise ValueError("a rate is a positive number of samples a second")
        divisor = math.gcd(source, target)
        self._up, self._down = target // divisor, source // divisor
        scale = min(1.0, self._up / self._down)
        self._half = math.ceil(TAPS / scale)
        # One filter a phase: the output sample k lies at k * down / up, whose fraction has `up` values.
        offsets = np.arange(-self._half + 1, self._half + 1)
        phases = np.arange(self._up)[:, None] / self._up
        distance = (offsets[None, :] - phases) * scale
        window = np.where(np.abs(distance) < TAPS, 0.5 + 0.5 * np.cos(np.pi * distance / TAPS), 0.0)
        kernel = np.sinc(distance * 0.95) * window
        self._kernel = (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)
        self._same = self._up == self._down == 1
        self.reset()

    def reset(self) -> None:
        """Begin another stream."""
        self._buffer = np.zeros(self._half - 1, np.float32)
        self._start = -(self._half - 1)
        """Which input sample the buffer begins with."""
        self._taken = self._given = 0

    def push(self, audio: Samples) -> Samples:
        """What has become certain with `audio`."""
        self._taken += len(audio)
        if self._same:
            self._given += len(audio)
            return audio
        self._buffer = np.concatenate([self._buffer, audio])
        last = self._start + len(self._buffer) - 1 - self._half  # the newest centre whose filter is covered
        count = (last * self._up) // self._down + 1 if last >= 0 else 0
        return self._draw(count)

    def flush(self) -> Samples:
        """The rest of the stream, after which another begins."""
        if self._same:
            self.reset()
            return np.zeros(0, np.float32)
        total = round(self._taken * self._up / self._down)
        self._buffer = np.concatenate([self._buffer, np.zeros(self._half + 1, np.float32)])
        rest = self._draw(total)
        self.reset()
        return rest

    def _draw(self, until: int) -> Samples:
        k = np.arange(self._given, max(self._given, until))
        if not len(k):
            return np.zeros(0, np.float32)
        centre, phase = (k * self._down) // self._up, (k * self._down) % self._up
        rows = (centre - self._start)[:, None] + np.arange(-self._half + 1, self._half + 1)[None, :]
        out = np.einsum("kt,kt->k", self._buffer[rows], self._kernel[phase])
        self._given += len(k)
        keep = (self._given * self._down) // self._up - self._half + 1
        cut = max(0, keep - self._start)
        self._buffer, self._start = self._buffer[cut:], self._start + cut
        return np.asarray(out, np.float32)


def resample(audio: Samples, source: int, target: int) -> Samples:
    """All of a sound at another rate."""
    resampler = Resampler(source, target)
    return np.concatenate([resampler.push(audio), resampler.flush()])
