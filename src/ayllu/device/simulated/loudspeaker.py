"""The simulated device's loudspeaker, and what of it comes back to the microphone. Sound is at 16 kHz."""

from __future__ import annotations

import numpy as np

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples

PATH = 0.002
"""Seconds from the loudspeaker straight to the microphone."""
REFLECTED = 0.5
"""Of the energy of the sound that comes straight, what comes from the walls."""


def impulse(reverberation: float, seed: int = 0) -> Samples:
    """What a click becomes on its way, of energy one: the way straight, and walls whose sound falls by 60 dB in
    `reverberation` seconds (noise under an exponential curve, as in Polack's model of a room)."""
    length = max(2, int(reverberation * RATE))
    walls = np.random.default_rng(seed).standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    walls[0] = 0
    walls *= np.sqrt(REFLECTED / np.sum(walls**2))
    walls[0] = 1
    way = np.concatenate([np.zeros(int(PATH * RATE)), walls / np.sqrt(np.sum(walls**2))])
    return np.asarray(way, np.float32)


class Loudspeaker:
    """Plays what it is given without a pause, `delay` seconds after it was given; the microphone hears it `down`
    decibels below what was played."""

    def __init__(self, *, down: float, reverberation: float, delay: float = 0.05, seed: int = 0) -> None:
        self.delay = delay
        self._way = impulse(reverberation, seed) * 10 ** (-down / 20)
        self._tail = np.zeros(len(self._way) - 1, np.float32)
        self._waiting = np.zeros(0, np.float32)

    def play(self, sound: Samples) -> None:
        """Play behind what plays."""
        if not len(self._waiting):
            self._waiting = np.zeros(int(self.delay * RATE), np.float32)
        self._waiting = np.concatenate([self._waiting, sound])

    def stop(self) -> None:
        """Play no more; the room rings on."""
        self._waiting = self._waiting[:0]

    def heard(self, samples: int) -> Samples:
        """What the microphone hears of it in the next so many samples."""
        played, self._waiting = self._waiting[:samples], self._waiting[samples:]
        size = samples + len(self._way) - 1
        spectrum = np.fft.rfft(played, size) * np.fft.rfft(self._way, size)
        sound = np.fft.irfft(spectrum, size)
        sound[: len(self._tail)] += self._tail
        self._tail = np.asarray(sound[samples:], np.float32)
        return np.asarray(sound[:samples], np.float32)
