"""Whether it is the wearer who speaks: the voice of a turn beside the one that was enrolled.

Shapes: E numbers of a voice, of length one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Protocol

import numpy as np

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples

LIKE = 0.6
"""Likeness from which a voice is the wearer's: where both errors of the development voices are alike
(`python bench/glasses/wearer.py`)."""
SAME = 0.45
"""Likeness below which two sentences of an enrolment are of different voices."""
ENOUGH, SENTENCES = 6.0, 3
"""Seconds of speech and sentences that an enrolment takes."""
NOISE = 10.0
"""Decibels below the speech of the noise in which an enrolment is heard a second time: a street is not a quiet room."""


class Voices(Protocol):
    """Tells voices apart."""

    name: str

    def of(self, audio: Samples) -> Samples:
        """The voice in a piece of sound at 16 kHz, E numbers."""
        ...


def likeness(one: Samples, other: Samples) -> float:
    """From -1 to 1."""
    return float(one @ other)


def enrolled(sentences: Sequence[Samples], voices: Voices) -> Samples | None:
    """The voice of several sentences; None where they are of different voices."""
    clean = [voices.of(sentence) for sentence in sentences]
    if any(likeness(one, other) < SAME for one, other in combinations(clean, 2)):
        return None
    noisy = [voices.of(_in_noise(sentence, seed)) for seed, sentence in enumerate(sentences)]
    mean = np.mean([*clean, *noisy], axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def seconds(sentences: Sequence[Samples]) -> float:
    """How long they are together."""
    return sum(map(len, sentences)) / RATE


def _in_noise(audio: Samples, seed: int) -> Samples:
    level = float(np.sqrt(np.mean(audio.astype(np.float64) ** 2))) * 10 ** (-NOISE / 20)
    noise = np.random.default_rng(seed).standard_normal(len(audio), dtype=np.float32)
    return np.asarray(audio + level * noise, np.float32)
