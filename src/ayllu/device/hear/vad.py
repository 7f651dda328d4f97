"""Voice activity: how likely each 32 ms of sound holds speech."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from ayllu.device.audio.pcm import Samples
from ayllu.device.models import SILERO, read, session

WINDOW = 512
"""Samples at 16 kHz of which one answer is given: 32 ms."""
CONTEXT = 64
"""Samples before the window that the model sees as well."""


class Detector(Protocol):
    """One stream's detector of speech."""

    def push(self, window: Samples) -> float:
        """The probability of speech in the next `WINDOW` samples."""
        ...


class Silero:
    """Silero's detector; `stream` gives one with a state of its own."""

    name = SILERO.name

    def __init__(self, cache: Path) -> None:
        self._session = session(read(SILERO, cache)["model"])

    def stream(self) -> Detector:
        """A detector for one stream."""
        return _SileroStream(self._session)


class _SileroStream:
    def __init__(self, model: object) -> None:
        self._run = model.run  # type: ignore[attr-defined]
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros(CONTEXT, np.float32)
        self._rate = np.array(16_000, np.int64)

    def push(self, window: Samples) -> float:
        given = np.concatenate([self._context, window])[None]
        out, self._state = self._run(None, {"input": given, "state": self._state, "sr": self._rate})
        self._context = window[-CONTEXT:]
        return float(out[0, 0])
