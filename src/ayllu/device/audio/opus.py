"""Opus packets (RFC 6716) in and out, by PyAV, which has libopus within."""

from __future__ import annotations

import fractions
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from ayllu.device.audio.pcm import Samples, to_pcm16

DECODED = 48_000
"""Samples a second of what libopus gives, whatever was put in."""


class Encoder:
    """Sound of one channel to packets of a fixed length."""

    def __init__(self, rate: int, milliseconds: int) -> None:
        context: Any = av.CodecContext.create("libopus", "w")
        context.sample_rate, context.layout, context.format, context.bit_rate = rate, "mono", "s16", 24_000
        context.options = {"frame_duration": str(milliseconds), "application": "voip"}
        context.open()
        self._context, self._rate, self._at = context, rate, 0
        self._size = rate * milliseconds // 1000
        self._rest = np.zeros(0, np.float32)

    def push(self, sound: Samples) -> list[bytes]:
        """The packets that are complete."""
        sound = np.concatenate([self._rest, sound])
        whole = len(sound) // self._size * self._size
        self._rest = sound[whole:]
        return [data for at in range(0, whole, self._size) for data in self._encode(sound[at : at + self._size])]

    def flush(self) -> list[bytes]:
        """The rest, with silence behind it."""
        return self.push(np.zeros(-len(self._rest) % self._size, np.float32))

    def reset(self) -> None:
        """Forget the rest."""
        self._rest = self._rest[:0]

    def _encode(self, sound: Samples) -> list[bytes]:
        frame = av.AudioFrame(format="s16", layout="mono", samples=self._size)
        frame.planes[0].update(to_pcm16(sound))
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._at, fractions.Fraction(1, self._rate)
        self._at += self._size
        return [bytes(packet) for packet in self._context.encode(frame)]


class Decoder:
    """Packets to sound of one channel at `DECODED`."""

    def __init__(self) -> None:
        context: Any = av.CodecContext.create("libopus", "r")
        context.sample_rate, context.layout = DECODED, "mono"
        self._context = context

    def push(self, packet: bytes) -> Samples:
        """The sound of a packet. Raises ValueError where it is none."""
        try:
            frames = self._context.decode(av.Packet(packet))
        except FFmpegError:
            raise ValueError("this is no packet of Opus") from None
        pieces = [frame.to_ndarray().reshape(-1).astype(np.float32) / 32768 for frame in frames]
        return np.concatenate([np.zeros(0, np.float32), *pieces])
