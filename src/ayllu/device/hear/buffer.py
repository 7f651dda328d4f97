"""Sound that waits to be committed, where no detector of speech ends turns."""

from __future__ import annotations

import numpy as np

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples
from ayllu.serve.errors import ApiError

LONGEST = 600
"""Seconds of sound that wait to be committed."""
SHORTEST = 100
"""Milliseconds below which nothing can be committed, as in OpenAI's API."""


class Buffer:
    """Pieces at 16 kHz, in order."""

    def __init__(self) -> None:
        self._pieces: list[Samples] = []

    def add(self, sound: Samples) -> None:
        """One more piece. Raises ApiError where the buffer is full."""
        if sum(map(len, self._pieces)) + len(sound) > LONGEST * RATE:
            raise ApiError(400, f"the buffer holds at most {LONGEST} seconds; commit or clear it", code="buffer_full")
        self._pieces.append(sound)

    def clear(self) -> Samples:
        """Empty it; gives what was in it."""
        pieces, self._pieces = self._pieces, []
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def check_length(audio: Samples) -> None:
    """Raise ApiError where there is too little sound to commit."""
    milliseconds = 1000 * len(audio) // RATE
    if milliseconds < SHORTEST:
        why = f"the buffer has {milliseconds} ms of sound; {SHORTEST} are needed to commit it"
        raise ApiError(400, why, code="input_audio_buffer_commit_empty")
