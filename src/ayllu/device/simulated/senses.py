"""The simulated device's sensors: recordings, noise and its own loudspeaker as a microphone, pictures as a camera."""

from __future__ import annotations

import wave
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples, resample
from ayllu.device.simulated.loudspeaker import Loudspeaker
from ayllu.device.simulated.noise import Noise, noise, power
from ayllu.lab.error import UserError

WIDTHS = {1: ("u1", 128.0, 128.0), 2: ("<i2", 0.0, 32768.0), 4: ("<i4", 0.0, 2147483648.0)}
LOOP = 10
"""Seconds after which noise begins again."""
TALKING = 0.004
"""Power of speech before anybody has spoken."""


def read_wav(path: Path) -> Samples:
    """A recording at 16 kHz, its channels as their mean. Raises UserError where it is none."""
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise UserError(f"{path} is no WAV file of samples that are numbers ({error})") from error
    if width not in WIDTHS or not rate:
        raise UserError(f"{path}: samples of {8 * width} bits are not read; make them 16")
    kind, middle, scale = WIDTHS[width]
    values = np.frombuffer(data[: len(data) // (width * channels) * width * channels], kind).reshape(-1, channels)
    return resample(np.asarray((values.mean(axis=1) - middle) / scale, np.float32), rate, RATE)


@dataclass
class Microphone:
    """A stream at 16 kHz: what is said, with the same noise under it and between."""

    kind: Noise = "room"
    snr: float = 30.0
    seed: int = 0
    loudspeaker: Loudspeaker | None = None
    """What it hears beside the wearer; None for a device that is heard by its wearer alone."""
    _said: Samples = field(default_factory=lambda: np.zeros(0, np.float32))
    _at: int = 0
    _power: float = TALKING
    _loop: tuple[Noise, Samples] = field(default=("none", np.zeros(0, np.float32)))

    @property
    def speaking(self) -> bool:
        """Whether something is still to be said."""
        return len(self._said) > 0

    def say(self, speech: Samples) -> None:
        """Say something, behind what is being said. The noise keeps its ratio to it."""
        self._power = power(speech) or self._power
        self._said = np.concatenate([self._said, speech])

    def hush(self) -> None:
        """Say no more."""
        self._said = self._said[:0]

    def read(self, samples: int) -> Samples:
        """The next piece."""
        spoken, self._said = self._said[:samples], self._said[samples:]
        if self._loop[0] != self.kind:
            self._loop = (self.kind, noise(self.kind, LOOP * RATE, self.seed))
        under = np.take(self._loop[1], np.arange(self._at, self._at + samples), mode="wrap")
        self._at += samples
        sound = under * np.sqrt(self._power / 10 ** (self.snr / 10))
        sound[: len(spoken)] += spoken
        if self.loudspeaker is not None:
            sound += self.loudspeaker.heard(samples)
        return np.asarray(np.clip(sound, -1, 1), np.float32)
