"""What is wrong with the sound of a microphone, told once until it is right again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples

FULL, CLIPPED = 0.99, 0.02
"""A sample from which the converter is at its end, and the part of the samples of a second from which it is heard."""
DEAD_SECONDS = 10
"""So long no room is without any sound: even a quiet one has noise."""


@dataclass
class Problems:
    """Watches one stream at 16 kHz."""

    _dead: int = 0
    _told: str | None = None

    def __post_init__(self) -> None:
        self._rest = np.zeros(0, np.float32)

    def push(self, audio: Samples) -> list[str]:
        """What is new about the seconds that `audio` completes: a sentence, or an empty one where all is well."""
        sound = np.concatenate([self._rest, audio])
        told = []
        for start in range(0, len(sound) - RATE + 1, RATE):
            found = self._judge(sound[start : start + RATE])
            if found != self._told:
                if found or self._told:
                    told.append(found)
                self._told = found
        self._rest = sound[len(sound) // RATE * RATE :]
        return told

    def _judge(self, second: Samples) -> str:
        loud = np.abs(second)
        self._dead = self._dead + 1 if loud.max() == 0 else 0
        if self._dead >= DEAD_SECONDS:
            return "the microphone gives no sound at all: it may be muted"
        if float((loud >= FULL).mean()) >= CLIPPED:
            return "the sound is clipped: the microphone is too loud or too close"
        return ""
