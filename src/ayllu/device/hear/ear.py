"""Where speech begins, pauses and goes on in a stream of sound. All times are counts of samples at 16 kHz."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples
from ayllu.device.hear.vad import WINDOW, Detector

MILLISECOND = RATE // 1000


@dataclass(frozen=True, kw_only=True)
class Listening:
    """When somebody counts as speaking, and as done. Lengths are in milliseconds of sound."""

    threshold: float = 0.5
    """Probability of speech from which a window counts."""
    release: float = 0.35
    """Below this a window counts as silence; between the two it counts as what was before."""
    start: int = 96
    """Speech shorter than that is a click."""
    pause: int = 96
    """From so much silence on it is asked whether the turn has ended."""
    stop: int = 192
    """The least silence behind a turn."""
    patience: int = 1500
    """So much silence ends a turn, whatever the judge of pauses says."""
    prefix: int = 300
    """Sound kept from before the speech."""
    complete: float = 0.5
    """Probability from which a turn counts as complete."""
    longest: int = 60_000
    """A turn is cut here."""
    voiced: int = 1000
    """So much of a turn is looked at to know whose voice it is, while it goes on."""
    partial: int = 700
    """Between two looks at what has been said so far; 0 for none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """Speech has begun at sample `at`, the prefix counted in."""

    at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Paused:
    """The speaker has paused; the speech ended at about sample `at`."""

    at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumed:
    """The speaker goes on."""

    at: int


@dataclass
class Ear:
    """Follows one stream: pieces of any size go in, what happened comes out."""

    detector: Detector
    how: Listening = field(default_factory=Listening)
    heard: int = 0
    """Samples so far."""
    speaking: bool = False
    """Whether a turn is open."""
    paused: bool = False

    def __post_init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._kept: list[Samples] = []
        self._run = 0
        """Samples of speech in a row before a turn, and of silence in one."""

    @property
    def silence(self) -> int:
        """Milliseconds since the last speech of the open turn."""
        return self._run // MILLISECOND if self.speaking else 0

    @property
    def audio(self) -> Samples:
        """The sound of the open turn, its prefix included."""
        return np.concatenate(self._kept) if self._kept else np.zeros(0, np.float32)

    @property
    def length(self) -> int:
        """Milliseconds of the open turn."""
        return sum(map(len, self._kept)) // MILLISECOND if self.speaking else 0

    def push(self, audio: Samples) -> list[Started | Paused | Resumed]:
        """What happened in the windows that `audio` completes."""
        sound = np.concatenate([self._rest, audio])
        events: list[Started | Paused | Resumed] = []
        for start in range(0, len(sound) - WINDOW + 1, WINDOW):
            events += self._window(sound[start : start + WINDOW])
        self._rest = sound[len(sound) // WINDOW * WINDOW :]
        return events

    def end(self) -> Samples:
        """Close the turn; gives its sound."""
        audio = self.audio
        self.speaking = self.paused = False
        self._run, self._kept = 0, []
        return audio

    def _window(self, window: Samples) -> list[Started | Paused | Resumed]:
        probability = self.detector.push(window)
        self.heard += WINDOW
        self._kept.append(window)
        if not self.speaking:
            return self._quiet(probability)
        if probability >= self.how.threshold or (probability >= self.how.release and not self._run):
            self._run = 0
            if self.paused:
                self.paused = False
                return [Resumed(at=self.heard)]
            return []
        self._run += WINDOW
        if not self.paused and self.silence >= self.how.pause:
            self.paused = True
            return [Paused(at=self.heard - self._run)]
        return []

    def _quiet(self, probability: float) -> list[Started | Paused | Resumed]:
        self._run = self._run + WINDOW if probability >= self.how.threshold else 0
        most = (self.how.prefix * MILLISECOND + self._run) // WINDOW + 1
        self._kept = self._kept[-most:]
        if self._run < self.how.start * MILLISECOND:
            return []
        self.speaking, self._run = True, 0
        return [Started(at=max(0, self.heard - sum(map(len, self._kept))))]
