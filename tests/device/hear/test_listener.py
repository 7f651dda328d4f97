"""The real models on real speech: what is heard, and when a turn has ended."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import numpy as np
import pytest

from ayllu.device.bench.turns import make_turn, room
from ayllu.device.bench.words import errors
from ayllu.device.hear.listener import Failed, Final, Heard, Listener, Partial
from ayllu.device.hear.opinion import says_again, second_opinion
from ayllu.device.hear.turn import hanging
from ayllu.device.parts import Parts


def listen(parts: Parts, *sounds: np.ndarray) -> list[object]:
    """Feed faster than real time, but never faster than the models."""

    async def scenario() -> list[object]:
        told: list[object] = []
        listener = Listener(parts, told.append)
        sound = np.concatenate(sounds)
        sound = sound + room(len(sound), 0)
        for at in range(0, len(sound), 320):
            listener.feed(sound[at : at + 320])
            if listener.ear.paused:
                await listener.settle()
            await asyncio.sleep(0)
        await listener.settle()
        listener.close()
        return told

    return asyncio.run(scenario())


def quiet(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * 16_000), np.float32)


@pytest.mark.parametrize(
    "sentence",  # Known as unfinished by how it sounds (a chance of 0.02), and by its last word.
    ["I would like to know when … the museum closes.", "I think that the … train leaves at nine."],
)
def test_a_sentence_with_a_thinking_pause_is_one_turn_and_is_understood(sentence: str, parts: Parts) -> None:
    turn = make_turn(sentence, parts.voice)
    told = listen(parts, quiet(0.5), turn.audio, quiet(2.0))
    heard = [event for event in told if isinstance(event, Heard)]
    finals = [event for event in told if isinstance(event, Final)]
    assert len(heard) == len(finals) == 1
    assert abs(heard[0].end - (8000 + len(turn.audio))) < 3200
    assert errors(turn.text, finals[0].text)[0] <= 1
    assert any(isinstance(event, Partial) for event in told)


def test_room_noise_and_a_click_are_no_turn(parts: Parts) -> None:
    click = quiet(0.01) + 0.9
    assert listen(parts, quiet(1.0), click, room(32_000, 3) * 10) == []


def test_a_recogniser_that_dies_ends_the_turn_and_the_next_one_is_heard(parts: Parts) -> None:
    class Dying:
        name = "dying"
        calls = 0

        def transcribe(self, audio: np.ndarray) -> str:
            self.calls += 1
            if len(audio) < 26_000:
                raise RuntimeError("killed")
            return parts.recogniser.transcribe(audio)

    turns = [make_turn(text, parts.voice).audio for text in ("Hello there.", "What is the weather like in Lima today?")]
    dying = dataclasses.replace(parts, recogniser=Dying(), final=None)
    told = listen(dying, quiet(0.5), turns[0], quiet(2.0), turns[1], quiet(2.0))
    heard = [event for event in told if isinstance(event, Heard)]
    assert any(isinstance(event, Failed) for event in told)
    assert [bool(event.text) for event in heard] == [False, True]
    assert "weather" in heard[1].text


def test_a_second_opinion_that_invents_words_is_not_taken() -> None:
    assert second_opinion("hello their", "Hello there.") == "Hello there."
    assert second_opinion("hello there", "Hello there. " * 3) == "hello there"
    assert second_opinion("hello there", "") == "hello there"


def test_what_a_second_opinion_says_again_is_cut() -> None:
    asked = "Where did I leave my keys?"
    for again in ("Where did I", "Where did I leave", asked):
        assert second_opinion("where did i leave my keys", f"{asked} {again}") == asked
    assert second_opinion("knock knock knock knock", "Knock knock, knock knock.") == "Knock knock, knock knock."
    assert second_opinion("i said that i was late", "I said that I was late.") == "I said that I was late."
    assert second_opinion("", "") == ""
    assert says_again("Where did I leave my keys? Where did I") and not says_again("What is the weather like today?")


def test_words_that_ask_for_another_hold_a_turn_open() -> None:
    assert all(map(hanging, ("Remind me to", "I want to go to the...", "Tell me when", "Because I")))
    assert not any(
        map(hanging, ("What is this for?", "Where is it from?", "Stop.", "", "Call my mother", "What is that?"))
    )


class Instant:
    """Parts that answer at once, as on a machine that is fast enough."""

    name = "instant"

    def __init__(self, complete: float, text: str) -> None:
        self._complete, self._text = complete, text

    def stream(self) -> Instant:
        return self

    def push(self, window: np.ndarray) -> float:
        return float(np.abs(window).mean() > 0.1)

    def finished(self, audio: np.ndarray) -> float:
        return self._complete

    def transcribe(self, audio: np.ndarray) -> str:
        return self._text


@pytest.mark.parametrize(
    "complete, text, silence",
    [(0.9, "Call my mother.", 192), (0.1, "Call my mother.", 1504), (0.9, "Remind me to", 1504)],
)
def test_a_turn_ends_as_soon_as_it_is_complete_and_else_after_the_longest_wait(
    complete: float, text: str, silence: int
) -> None:
    async def scenario() -> int:
        part: Any = Instant(complete, text)
        parts = Parts(activity=part, turn=part, recogniser=part, final=None, voice=part)
        told: list[object] = []
        listener = Listener(parts, told.append)
        listener.feed(np.ones(16_000, np.float32))
        for window in range(100):
            listener.feed(np.zeros(512, np.float32))
            await listener.settle()
            if any(isinstance(event, Heard) for event in told):
                parts.close()
                return 32 * (window + 1)
        raise AssertionError("it never ended")

    assert asyncio.run(scenario()) == pytest.approx(silence, abs=40)
