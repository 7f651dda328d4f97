"""Kokoro (https://huggingface.co/hexgrad/Kokoro-82M): one network, many voices, in more languages than English.

It takes some four times as long as Piper's voice for the same words, so that English is not spoken by it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ayllu.data.archive import fetch, members
from ayllu.device.audio.pcm import Samples
from ayllu.device.models import KOKORO, KOKORO_SYMBOLS, KOKORO_VOICES, read, session
from ayllu.device.speak.phonemes import phonemes
from ayllu.lab.error import UserError

STYLE = 256
"""Numbers of a voice, of which there are as many sets as a text may have symbols."""
LONGEST = 500
"""Symbols of one piece."""


class KokoroModel:
    """The network, which its voices share."""

    def __init__(self, cache: Path, *, threads: int = 1) -> None:
        self._session = session(b"".join(read(part, cache)["model"] for part in KOKORO), threads=threads)
        self._ids: dict[str, int] = json.loads(read(KOKORO_SYMBOLS, cache)["config"])["vocab"]

    def say(self, spoken: str, styles: Samples, speed: float) -> Samples:
        """The sound of some phonemes."""
        ids = [self._ids[symbol] for symbol in spoken if symbol in self._ids][:LONGEST]
        if not ids:
            return np.zeros(0, np.float32)
        given = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": styles[len(ids)][None],
            "speed": np.array([speed], np.float32),
        }
        return np.asarray(self._session.run(None, given)[0].reshape(-1), np.float32)


class Kokoro:
    """One voice."""

    rate = 24_000

    def __init__(self, model: KokoroModel, cache: Path, voice: str, language: str) -> None:
        """`voice` by its name in the archive, such as pf_dora; `language` as espeak-ng calls it."""
        self.name = f"kokoro {voice}"
        self._model, self._language = model, language
        self._styles = styles(cache, voice)

    def say(self, text: str, *, speed: float = 1.0) -> Samples:
        """The sound of a text at `rate`; nothing where there is nothing to pronounce."""
        return self._model.say(symbols(phonemes(text, self._language)), self._styles, speed)


def symbols(spoken: str) -> str:
    """espeak-ng's phonemes as Kokoro was trained with them."""
    return spoken.replace("ɚ", "əɹ").replace("r", "ɹ")


def styles(cache: Path, voice: str) -> Samples:
    """The sets of numbers of a voice. Raises UserError where there is none of that name."""
    place = f"package/voices/{voice}.bin"
    for _, file in members(fetch(KOKORO_VOICES, cache), lambda name: name == place):
        return np.frombuffer(file.read(), np.float32).reshape(-1, STYLE)
    raise UserError(f"there is no voice {voice} in {KOKORO_VOICES}")
