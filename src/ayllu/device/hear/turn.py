"""Whether somebody who pauses has finished."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

import numpy as np

from ayllu.device.audio.mel import RATE, log_mel
from ayllu.device.audio.pcm import Samples
from ayllu.device.models import SMART_TURN, read, session

SECONDS = 8


class TurnEnd(Protocol):
    """Judges a pause."""

    name: str

    def finished(self, audio: Samples) -> float:
        """The probability that the turn in `audio` (16 kHz) is complete; may take a tenth of a second."""
        ...


class SmartTurn:
    """Smart Turn, which hears intonation: 8 seconds of log-mel spectrum in, one probability out."""

    name = SMART_TURN.name

    def __init__(self, cache: Path) -> None:
        self._session = session(read(SMART_TURN, cache)["model"])

    def finished(self, audio: Samples) -> float:
        heard = audio[-SECONDS * RATE :]
        heard = (heard - heard.mean()) / np.sqrt(heard.var() + 1e-7)
        padded = np.concatenate([np.zeros(SECONDS * RATE - len(heard), np.float32), heard.astype(np.float32)])
        return float(self._session.run(None, {"input_features": log_mel(padded)[None]})[0].item())


class FixedWait:
    """Where there is no model: a turn has ended when the silence has been long enough, and never before."""

    name = "fixed wait"

    def finished(self, audio: Samples) -> float:
        return 0.0


# fmt: off
HANGING = frozenset([
    "a", "an", "the", "my", "your", "his", "her", "our", "their", "this", "these", "some", "any", "every",
    "to", "of", "for", "from", "with", "in", "on", "at", "by", "into", "about", "between", "than", "as",
    "and", "or", "but", "because", "if", "when", "while", "whether", "that", "which", "whose",
    "is", "are", "was", "were", "am", "will", "would", "could", "should", "can", "i", "i'm", "let's", "very",
])
# fmt: on
"""English words with which hardly a turn ends: who stops there is thinking, whatever the voice sounds like."""
AT_THE_END = frozenset(
    ["for", "from", "with", "in", "on", "at", "about", "to", "of", "that", "this", "these", "is", "are", "i"]
)
"""Of them, those that a question may end with."""


def hanging(text: str) -> bool:
    """Whether the words so far ask for another one; a question such as "what is it for?" does not."""
    words = re.findall(r"[a-z']+", text.lower().replace("\u2019", "'"))
    if not words or words[-1] not in HANGING:
        return False
    asks = words[0] in ("what", "who", "where", "which", "why", "how") or text.rstrip().endswith("?")
    return not (asks and words[-1] in AT_THE_END)
