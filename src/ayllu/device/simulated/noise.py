"""Wind and steps, made by formula, mixed under speech at a stated ratio. Shapes: N samples."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples

Noise = Literal["none", "room", "walking", "wind"]
STEPS = 1.9
"""Steps a second of somebody who walks."""
LOUD = 0.05
"""Of the loudest 20 ms, above which speech counts as there when its power is measured."""


def noise(kind: Noise, samples: int, seed: int) -> Samples:
    """Noise of power one at 16 kHz, the same for the same seed; silence for `none`."""
    if not samples or kind == "none":
        return np.zeros(samples, np.float32)
    random = np.random.default_rng(seed)
    white = random.standard_normal(samples)
    made = white if kind == "room" else _wind(white, random) if kind == "wind" else _steps(white, random)
    return np.asarray(made / max(1e-9, float(np.sqrt(np.mean(made**2)))), np.float32)


def mixed(speech: Samples, kind: Noise, snr: float, seed: int) -> Samples:
    """Speech with noise under it, `snr` decibels below the power of the speech where there is some."""
    if kind == "none":
        return speech
    under = noise(kind, len(speech), seed)
    return np.asarray(speech + under * np.sqrt(power(speech) / 10 ** (snr / 10)), np.float32)


def power(speech: Samples) -> float:
    """Mean square where somebody speaks: pauses would make a ratio look better than it is."""
    frames = speech[: len(speech) // 320 * 320].reshape(-1, 320)
    if not len(frames):
        return 0.0
    squares = np.mean(frames.astype(np.float64) ** 2, axis=1)
    return float(squares[squares > LOUD * squares.max()].mean()) if squares.max() > 0 else 0.0


def _shaped(white: np.ndarray, corner: float, steepness: int) -> np.ndarray:
    """White noise below a corner frequency in hertz."""
    spectrum = np.fft.rfft(white)
    frequencies = np.fft.rfftfreq(len(white), 1 / RATE)
    return np.fft.irfft(spectrum / (1 + (frequencies / corner) ** steepness), len(white))


def _wind(white: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turbulence at a microphone: nearly all below 300 Hz, in gusts of about a second."""
    every = int(0.7 * RATE)
    knots = random.uniform(0.2, 1.0, len(white) // every + 2)
    gusts = np.interp(np.arange(len(white)), np.arange(len(knots)) * every, knots)
    return _shaped(white, 120.0, 2) * gusts


def _steps(white: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A thump and a scuff for each step, on a floor of rustling cloth."""
    made = 0.02 * _shaped(white, 2000.0, 2)
    length = RATE // 4
    t = np.arange(length) / RATE
    thump = np.sin(2 * np.pi * 75 * t) * np.exp(-t * 30)
    at = random.uniform(0, 1 / STEPS)
    while (start := int(at * RATE)) < len(made):
        scuff = 0.25 * random.standard_normal(length) * np.exp(-((t - 0.06) ** 2) / 8e-4)
        piece = (thump + scuff) * random.uniform(0.7, 1.3)
        made[start : start + length] += piece[: len(made) - start]
        at += random.normal(1 / STEPS, 0.03)
    return made
