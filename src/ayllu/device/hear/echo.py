"""The echo of our own voice: what a client plays by the clock of its microphone, and the microphone without it.

WebRTC's echo canceller (AEC3) is told two streams of one length: what the microphone heard, and what was being played.
It finds the echo where that comes up to 0.4 s behind what was played; what lies further back has to be known.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples
from ayllu.lab.error import UserError

MILLISECOND = RATE // 1000
FRAME = RATE // 100
"""Samples of which the canceller takes any number."""
FOUND = 400 * MILLISECOND
"""An echo up to so far behind is found."""
LEAD = 100 * MILLISECOND
"""So far before its echo a sound is put where it is known when it is played."""
LONGEST_WAIT = 5 * RATE
GAP = 3.0
"""Seconds without the microphone after which time is read off the clock: a network may halt for less."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    item: str
    sound: Samples
    silence: bool = False
    """Whether it stands for waiting, and is nothing of the item."""


class Playback:
    """What a client is playing. It begins when it is sent, goes on without a pause, and ends where the client says so.

    Time is counted in samples of the client's microphone, so that neither jitter nor a slow network moves what is
    played against what is heard. Where the microphone rests the clock takes its place.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last = clock, clock()
        self._waiting: deque[_Piece] = deque()
        self._item = ""
        """The one that is played, or was last."""
        self._played = self._waited = 0
        """Samples of it, and of silence before and in it."""
        self._ended = ""
        """The item that is played no more, whatever is still sent of it."""
        self.moved = False
        """Whether what is played was found to lie elsewhere: what was learnt of the echo until then is of no use."""
        self._late = (0, 0)
        """By how many samples the last two items that the client stopped were played later than they were sent."""

    def said(self, item: str, sound: Samples) -> None:
        """Sound of an item was sent, at 16 kHz."""
        self._pass()
        if item == self._ended or not len(sound):
            return
        late = min(self._late)  # one alone may come from a network that halted
        if not self._waiting and item != self._item and late > FOUND:
            self._wait(item, min(late - LEAD, LONGEST_WAIT))
            self.moved = True
        self._waiting.append(_Piece(item=item, sound=sound))

    def stopped(self, item: str, milliseconds: float) -> None:
        """The client plays an item no more, of which it has played so much."""
        self._waiting = deque(piece for piece in self._waiting if piece.item != item)
        self._ended = item
        if item == self._item:
            late = self._waited + self._played - round(milliseconds * MILLISECOND)
            self._late = (self._late[1], late)

    def playing(self, item: str, milliseconds: float) -> None:
        """The next sample of the microphone is of the time when so much of an item has been played."""
        place = self._place(item)
        if place is None:
            return
        ahead = place - round(milliseconds * MILLISECOND)
        if ahead < 0:
            self._drop(-ahead)
        elif ahead > FOUND - LEAD:
            self._wait(item, ahead - LEAD)
            self.moved = True

    def take(self, count: int) -> Samples:
        """What is played during the next `count` samples of the microphone."""
        self._pass()
        self._last = self._clock()
        return self._drop(count)

    def _wait(self, item: str, count: int) -> None:
        self._waiting.appendleft(_Piece(item=item, sound=np.zeros(count, np.float32), silence=True))

    def _place(self, item: str) -> int | None:
        """How many samples of an item have been played, less than nothing where others come before; None if unknown."""
        played, before = (self._played if item == self._item else 0), 0
        for piece in self._waiting:
            if piece.item == item and not piece.silence:
                return played - before
            before += len(piece.sound)
        return None

    def _pass(self) -> None:
        gap = self._clock() - self._last
        if gap > GAP:
            self._last = self._clock()
            self._drop(min(int(gap * RATE), sum(len(piece.sound) for piece in self._waiting)))

    def _drop(self, count: int) -> Samples:
        out, at = np.zeros(count, np.float32), 0
        while self._waiting and at < count:
            piece = self._waiting.popleft()
            part = piece.sound[: count - at]
            out[at : at + len(part)] = part
            at += len(part)
            self._count(piece, len(part))
            if len(part) < len(piece.sound):
                self._waiting.appendleft(replace(piece, sound=piece.sound[len(part) :]))
        return out

    def _count(self, piece: _Piece, samples: int) -> None:
        if piece.item != self._item:
            self._item, self._played, self._waited = piece.item, 0, 0
        if piece.silence:
            self._waited += samples
        else:
            self._played += samples


class EchoCanceller:
    """Takes what is played out of what is heard. Raises UserError where the library is missing."""

    def __init__(self, playback: Playback) -> None:
        self._playback, self._rest = playback, np.zeros(0, np.float32)
        self._canceller = _library().EchoCanceller(RATE)

    def push(self, sound: Samples) -> Samples:
        """The next of the microphone at 16 kHz, of any length, without the echo; up to 10 ms are kept for the next."""
        sound = np.concatenate([self._rest, sound])
        whole = len(sound) // FRAME * FRAME
        self._rest = sound[whole:]
        if not whole:
            return sound[:0]
        if self._playback.moved:
            self._playback.moved = False
            self._canceller.reset()
        near = np.ascontiguousarray(sound[:whole], np.float32)
        return np.asarray(self._canceller.process(near, self._playback.take(whole)), np.float32)


def _library() -> Any:
    try:
        import pywebrtc_audio
    except ModuleNotFoundError:
        raise UserError("there is no echo canceller here; run: pip install 'ayllu[glasses]'") from None
    return pywebrtc_audio


def check_library() -> None:
    """Raise UserError where echo cannot be cancelled."""
    _library()
