"""What hears and speaks for the gateway; it knows nothing of which models do."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Samples: TypeAlias = "NDArray[np.float32]"


@dataclass(frozen=True, kw_only=True)
class Sound:
    """One channel, samples from -1 to 1."""

    samples: Samples
    rate: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Some words and when they are said, in seconds."""

    start: float
    end: float
    text: str


class Speech(Protocol):
    """Ears and a voice."""

    hearing: str
    """The recogniser's name."""
    languages: frozenset[str]
    """What is understood and spoken, as ISO 639-1 has it."""
    voice: str
    """The voice's name."""
    rate: int
    """Samples a second of what it says."""

    def transcribe(self, sound: Sound) -> AsyncGenerator[Segment]:
        """The words in a sound, a passage between two pauses at a time."""
        ...

    def say(self, text: str, *, speed: float) -> AsyncGenerator[Samples]:
        """A text as sound, from the first clause on."""
        ...
