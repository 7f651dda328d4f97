"""Encodings, rates and spectra, against other programs' answers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from transformers import WhisperFeatureExtractor

from ayllu.device.audio.mel import log_mel
from ayllu.device.audio.pcm import Resampler, from_g711, from_pcm16, resample, to_g711, to_pcm16
from support.parts import need_module

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    audioop = need_module("audioop", "the oracle of G.711 left Python in 3.13")


def tone(samples: int, rate: int, hertz: float = 440.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(samples) / rate).astype(np.float32)


@pytest.mark.parametrize("source, target", [(48_000, 16_000), (24_000, 16_000), (22_050, 24_000), (8_000, 16_000)])
def test_a_stream_gives_the_same_samples_however_it_is_cut_and_none_are_lost(source: int, target: int) -> None:
    audio, rng = tone(source + 37, source), np.random.default_rng(0)
    whole, stream, pieces, at = resample(audio, source, target), Resampler(source, target), [], 0
    while at < len(audio):
        size = int(rng.integers(1, 700))
        pieces.append(stream.push(audio[at : at + size]))
        at += size
    pieces.append(stream.flush())
    assert len(whole) == round(len(audio) * target / source)
    assert np.array_equal(np.concatenate(pieces), whole)
    assert np.abs(whole - tone(len(whole), target))[100:-100].max() < 1e-3


def test_what_the_lower_rate_cannot_hold_is_gone_instead_of_folded_back() -> None:
    assert np.abs(resample(tone(48_000, 48_000, 11_000.0), 48_000, 16_000))[200:-200].max() < 0.01


def test_pcm16_comes_back_and_a_cut_sample_is_refused() -> None:
    data = np.array([0, 1, -1, 32767, -32768], "<i2").tobytes()
    assert to_pcm16(from_pcm16(data)) == data
    assert to_pcm16(np.array([2.0, -2.0], np.float32)) == np.array([32767, -32768], "<i2").tobytes()
    with pytest.raises(ValueError, match="within a sample"):
        from_pcm16(b"abc")


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_g711_is_what_telephones_speak(law: str) -> None:
    codes = bytes(range(256))
    decode, encode = (getattr(audioop, name) for name in (f"{law}2lin", f"lin2{law}"))
    assert to_pcm16(from_g711(codes, law)) == decode(codes, 2)
    values = np.arange(-32768, 32768, 7).astype("<i2")
    ours = np.frombuffer(decode(to_g711(from_pcm16(values.tobytes()), law), 2), "<i2").astype(int)
    theirs = np.frombuffer(decode(encode(values.tobytes(), 2), 2), "<i2").astype(int)
    assert (np.abs(ours - values) <= np.abs(theirs - values)).all()


def test_the_spectrum_is_the_one_that_whisper_was_trained_on() -> None:
    audio = np.random.default_rng(1).normal(size=8 * 16_000).astype(np.float32) * 0.1
    theirs = WhisperFeatureExtractor(feature_size=80, chunk_length=8)(audio, sampling_rate=16_000, return_tensors="np")
    assert np.abs(theirs.input_features[0] - log_mel(audio)).max() < 1e-4
