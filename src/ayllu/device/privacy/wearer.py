"""The wearer's voice: numbers that tell it from others', kept on this machine alone, until they are erased."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ayllu.device.audio.pcm import Samples
from ayllu.device.hear.wearer import ENOUGH, LIKE, SENTENCES, Voices, enrolled, likeness, seconds
from ayllu.lab.error import UserError
from ayllu.lab.store import storage_told


class Wearer:
    """What a home keeps of the wearer. The file is read each time, so that what was erased is forgotten at once."""

    def __init__(self, home: Path, voices: Voices) -> None:
        self.path, self._voices = path_of(home), voices

    @property
    def model(self) -> str:
        """What tells the voices apart."""
        return self._voices.name

    @property
    def voice(self) -> Samples | None:
        """The wearer's voice; None where nobody is enrolled, or by another model than the one that is here."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            voice = np.array(kept["voice"], np.float32) if kept["model"] == self._voices.name else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.path} holds no voice ({error}): enrol again") from error
        return voice

    def likeness(self, voice: Samples) -> float | None:
        """How like the wearer's a voice is; None where nobody is enrolled."""
        known = self.voice
        return None if known is None or known.shape != voice.shape else likeness(known, voice)

    def knows(self, voice: Samples) -> bool:
        """Whether a voice is the wearer's."""
        like = self.likeness(voice)
        return like is not None and like >= LIKE

    def enrol(self, sentences: Sequence[Samples]) -> None:
        """Keep the voice of some sentences at 16 kHz in the place of any other. Raises UserError."""
        if len(sentences) < SENTENCES or seconds(sentences) < ENOUGH:
            raise UserError(
                f"{seconds(sentences):.1f} seconds of speech in {len(sentences)} sentences are too few to know a voice "
                f"by: {SENTENCES} sentences and {ENOUGH:.0f} seconds are needed"
            )
        voice = enrolled(sentences, self._voices)
        if voice is None:
            raise UserError("the sentences are of different voices: say all of them yourself, where nobody else talks")
        kept = {"model": self._voices.name, "made": round(time.time()), "voice": [round(float(x), 6) for x in voice]}
        with storage_told(self.path.parent, "the wearer's voice"):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = self.path.with_suffix(f".{os.getpid()}.partial")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
                json.dump(kept, out)
                out.flush()
                os.fsync(out.fileno())
            draft.replace(self.path)


def path_of(home: Path) -> Path:
    """Where a home keeps the wearer's voice."""
    return home / "glasses" / "wearer.json"


def forget(home: Path) -> bool:
    """Erase the wearer's voice; whether there was one."""
    with storage_told(home, "the wearer's voice"):
        there = path_of(home).exists()
        path_of(home).unlink(missing_ok=True)
    return there
