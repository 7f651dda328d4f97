"""Where speech begins, pauses and goes on, counted in samples."""

from __future__ import annotations

import numpy as np

from ayllu.device.hear.ear import Ear, Listening, Paused, Resumed, Started
from ayllu.device.hear.vad import WINDOW


class Scripted:
    """A detector that hears speech where the sound is loud."""

    def push(self, window: np.ndarray) -> float:
        return float(np.abs(window).mean() > 0.1)


def hear(*runs: tuple[bool, int], piece: int = 160) -> tuple[Ear, list[object]]:
    ear, events = Ear(Scripted(), Listening()), []
    sound = np.concatenate([np.full(windows * WINDOW, float(loud), np.float32) for loud, windows in runs])
    for at in range(0, len(sound), piece):
        events += ear.push(sound[at : at + piece])
    return ear, events


def test_a_turn_begins_after_three_windows_and_keeps_what_was_before() -> None:
    ear, events = hear((False, 40), (True, 3))
    assert [type(event) for event in events] == [Started]
    assert isinstance(events[0], Started) and 40 * WINDOW - 0.35 * 16_000 < events[0].at < 40 * WINDOW - 0.25 * 16_000
    assert len(ear.audio) == 43 * WINDOW - events[0].at


def test_a_click_is_no_speech() -> None:
    assert hear((False, 5), (True, 2), (False, 20))[1] == []


def test_a_pause_is_told_at_the_end_of_the_speech_and_taken_back() -> None:
    ear, events = hear((True, 10), (False, 4), (True, 2), (False, 30))
    assert [type(event) for event in events] == [Started, Paused, Resumed, Paused]
    assert events[1] == Paused(at=10 * WINDOW) and events[3] == Paused(at=16 * WINDOW)
    assert ear.silence == 30 * 32


def test_how_the_sound_is_cut_changes_nothing() -> None:
    runs = ((False, 9), (True, 10), (False, 4), (True, 2), (False, 30))
    assert hear(*runs, piece=160)[1] == hear(*runs, piece=4097)[1] == hear(*runs, piece=7)[1]
