"""Sound and pictures on tracks. A speaking track knows how much of each answer has been sent."""

from __future__ import annotations

import asyncio
import fractions
import io
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame

from ayllu.device.audio.pcm import Resampler, Samples, to_pcm16

RATE = 48_000
"""Of Opus, and so of what comes and goes."""
FRAME = RATE // 50
HEAR_RATE = 16_000


@dataclass
class Piece:
    """Sound of an answer that waits to be sent."""

    item: str
    samples: Samples


class SpeakingTrack(MediaStreamTrack):
    """Sends what it is given in real time, and silence else. `ran_dry` is called when an answer has been sent."""

    kind = "audio"

    def __init__(self, ran_dry: Callable[[], None]) -> None:
        super().__init__()
        self._pieces: deque[Piece] = deque()
        self._ran_dry = ran_dry
        self._start: float | None = None
        self._sent = 0
        self._played: dict[str, int] = {}
        """Samples of the newest answer that were sent."""

    def say(self, item: str, samples: Samples) -> None:
        """Sound of an item at `RATE`, behind what waits."""
        self._pieces.append(Piece(item, samples))

    def clear(self) -> tuple[str, int] | None:
        """Drop what waits; the item that was being said and the milliseconds of it that were sent."""
        if not self._pieces:
            return None
        item = self._pieces[0].item
        self._pieces.clear()
        return item, 1000 * self._played.get(item, 0) // RATE

    async def recv(self) -> Any:
        """The next 20 ms."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._start is None:
            self._start = time.monotonic()
        await asyncio.sleep(max(0.0, self._start + self._sent / RATE - time.monotonic()))
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(to_pcm16(self._next()))
        frame.pts, frame.sample_rate, frame.time_base = self._sent, RATE, fractions.Fraction(1, RATE)
        self._sent += FRAME
        return frame

    def _next(self) -> Samples:
        out, at = np.zeros(FRAME, np.float32), 0
        while self._pieces and at < FRAME:
            piece = self._pieces[0]
            part = piece.samples[: FRAME - at]
            out[at : at + len(part)] = part
            at += len(part)
            played = self._played.get(piece.item, 0) + len(part)
            self._played = {piece.item: played}
            piece.samples = piece.samples[len(part) :]
            if not len(piece.samples):
                self._pieces.popleft()
        if at and not self._pieces:
            self._ran_dry()
        return out


class Heard:
    """A peer's sound at 16 kHz, its channels as their mean. Frames of any rate and length."""

    def __init__(self) -> None:
        self._resampler: Resampler | None = None
        self._rate = 0

    def push(self, frame: Any) -> Samples:
        """The samples of a frame that have become certain."""
        if self._resampler is None or self._rate != frame.sample_rate:
            self._rate = frame.sample_rate
            self._resampler = Resampler(self._rate, HEAR_RATE)
        values_CN = frame.to_ndarray()
        channels = len(frame.layout.channels)
        if not frame.format.is_planar:
            values_CN = values_CN.reshape(-1, channels).T
        scale = 32768.0 if values_CN.dtype == np.int16 else 1.0
        return self._resampler.push(np.asarray(values_CN.mean(axis=0) / scale, np.float32))


def jpeg_of(frame: Any) -> bytes:
    """A frame of video as a JPEG."""
    out = io.BytesIO()
    frame.to_image().save(out, "jpeg", quality=85)
    return out.getvalue()
