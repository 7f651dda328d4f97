"""The log-mel spectrum that Whisper and the models made of it take (Radford et al. 2022, https://arxiv.org/abs/2212.04356).

Shapes: N samples at 16 kHz, M mel bands, T frames of 10 ms.
"""

from __future__ import annotations

import functools

import numpy as np

from ayllu.device.audio.pcm import Samples

RATE = 16_000
WINDOW, HOP, BANDS = 400, 160, 80


def log_mel(audio_N: Samples) -> Samples:
    """The spectrum of sound at 16 kHz, M x T with T = N // 160, scaled as Whisper was trained: about -1 to 1."""
    padded = np.pad(audio_N.astype(np.float64), WINDOW // 2, mode="reflect")
    frames_TW = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: len(audio_N) // HOP]
    power_TF = np.abs(np.fft.rfft(frames_TW * _hann(), axis=1)) ** 2
    mel_MT = np.log10(np.maximum(_filters() @ power_TF.T, 1e-10))
    return np.asarray((np.maximum(mel_MT, mel_MT.max() - 8.0) + 4.0) / 4.0, np.float32)


@functools.cache
def _hann() -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


@functools.cache
def _filters() -> np.ndarray:
    """Triangles on Slaney's mel scale, each of area one, M x F; the figures are those of librosa's `filters.mel`."""
    frequencies_F = np.fft.rfftfreq(WINDOW, 1 / RATE)
    edges = _hertz(np.linspace(_mel(0.0), _mel(RATE / 2), BANDS + 2))
    widths = np.diff(edges)
    slopes = edges[:, None] - frequencies_F[None, :]
    lower, upper = -slopes[:-2] / widths[:-1, None], slopes[2:] / widths[1:, None]
    return np.maximum(0, np.minimum(lower, upper)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]


def _mel(hertz: float) -> float:
    return hertz * 3 / 200 if hertz < 1000 else 15 + np.log(hertz / 1000) * 27 / np.log(6.4)


def _hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
