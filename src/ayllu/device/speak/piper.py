"""Piper's voices: VITS (Kim et al. 2021, https://arxiv.org/abs/2106.06103) as ONNX files, phonemes in, samples out."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np

from ayllu.device.audio.pcm import Samples
from ayllu.device.models import JOE, Part, read, session
from ayllu.device.speak.phonemes import phonemes

START, END, PAD = "^", "$", "_"


class Piper:
    """One voice, which says no sentence twice in the same way unless it is `steady`."""

    def __init__(self, cache: Path, *, part: Part = JOE, threads: int = 2, steady: bool = False) -> None:
        files = read(part, cache)
        config = json.loads(files["config"])
        self.name = part.name
        self.rate = int(config["audio"]["sample_rate"])
        self._language = str(config["espeak"]["voice"])
        self._ids = {symbol: list(map(int, ids)) for symbol, ids in config["phoneme_id_map"].items()}
        inference = config["inference"]
        noise, noise_w = float(inference["noise_scale"]), float(inference["noise_w"])
        self._noise, self._noise_w = (0.0, 0.0) if steady else (noise, noise_w)
        self._length = float(inference["length_scale"])
        self._session = session(files["model"], threads=threads)

    def say(self, text: str, *, speed: float = 1.0) -> Samples:
        """The sound of a text at `rate`; nothing where there is nothing to pronounce."""
        spoken = phonemes(text, self._language)
        ids = [*self._ids[START], *self._ids[PAD]]
        for symbol in unicodedata.normalize("NFD", spoken):
            if symbol in self._ids:
                ids += [*self._ids[symbol], *self._ids[PAD]]
        if len(ids) <= 2:
            return np.zeros(0, np.float32)
        ids += self._ids[END]
        given = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([self._noise, self._length / speed, self._noise_w], np.float32),
        }
        return np.asarray(self._session.run(None, given)[0].reshape(-1), np.float32)
