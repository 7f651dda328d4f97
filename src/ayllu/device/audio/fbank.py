"""Kaldi's log-mel energies (Povey et al. 2011), as models of speakers take them. N samples, T frames, M mel bands."""

from __future__ import annotations

import functools

import numpy as np

from ayllu.device.audio.mel import HOP, RATE, WINDOW
from ayllu.device.audio.pcm import Samples

BANDS, TRANSFORM = 80, 512
LOWEST, HIGHEST = 20.0, 8000.0
"""Hertz."""
FLOOR = 1.1920929e-07
"""Of an energy, before its logarithm is taken."""
EMPHASIS = 0.97


def fbank(audio_N: Samples) -> Samples:
    """The energies of sound at 16 kHz, T x M, less their mean over time; at least 25 ms are needed."""
    frames_TW = np.lib.stride_tricks.sliding_window_view(audio_N.astype(np.float64), WINDOW)[::HOP]
    frames_TW = frames_TW - frames_TW.mean(axis=1, keepdims=True)
    before_TW = np.concatenate([frames_TW[:, :1], frames_TW[:, :-1]], axis=1)
    power_TF = np.abs(np.fft.rfft((frames_TW - EMPHASIS * before_TW) * _window(), TRANSFORM, axis=1)) ** 2
    energies_TM = np.log(np.maximum(power_TF @ _filters().T, FLOOR))
    return np.asarray(energies_TM - energies_TM.mean(axis=0), np.float32)


@functools.cache
def _window() -> np.ndarray:
    """Povey's: that of Hann to the power of 0.85."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / (WINDOW - 1))) ** 0.85


@functools.cache
def _filters() -> np.ndarray:
    """Triangles on the mel scale, M x F, each of height one."""
    edges = np.linspace(_mel(np.array(LOWEST)), _mel(np.array(HIGHEST)), BANDS + 2)
    bins_F = _mel(np.arange(TRANSFORM // 2 + 1) * RATE / TRANSFORM)
    up = (bins_F - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - bins_F) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(up, down))


def _mel(hertz: np.ndarray) -> np.ndarray:
    return 1127 * np.log1p(hertz / 700)
