"""The phrase that wakes: by its letters in a text, and through the real chain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ayllu.device.hear.wake import AWAKE, Wake, checked_phrase
from ayllu.device.privacy.ledger import Ledger
from ayllu.lab.error import UserError
from support.serving.glasses import WIRE, Client, run, session, speech, wearing

if TYPE_CHECKING:
    from ayllu.device.parts import Parts

QUIET = np.zeros(2 * WIRE, np.float32)
PHRASE = "okay glasses"


@pytest.mark.parametrize(
    "text, rest",
    [
        ("Okay glasses, what time is it?", "what time is it?"),
        ("OK, glasses. What time is it?", "What time is it?"),
        ("O.K. glasses, call my mother.", "call my mother."),
        ("Okay, classes, call my mother.", "call my mother."),
        ("So I said okay glasses. Okay glasses, stop.", "stop."),
        ("Okay glasses.", ""),
        ("Where are my glasses?", None),
        ("The glasses are okay.", None),
        ("Okay, the glasses are over there.", None),
        ("Okay.", None),
        ("", None),
    ],
)
def test_what_stands_behind_the_phrase_however_it_is_written(text: str, rest: str | None) -> None:
    assert Wake(PHRASE).rest(text) == rest


def test_awake_for_a_while_after_an_answer_that_takes_its_time() -> None:
    now = [0.0]
    wake = Wake(PHRASE, clock=lambda: now[0])
    assert not wake.awake and wake.meant("What time is it?", awake=wake.awake) is None
    wake.stay(5.0)
    for seconds, awake in ((5.0 + AWAKE - 0.1, True), (5.0 + AWAKE + 0.1, False)):
        now[0] = seconds
        assert wake.awake is awake
    assert Wake().awake and Wake().meant("anything", awake=True) == "anything"


def test_a_phrase_that_stands_in_much_of_what_people_say_is_refused() -> None:
    assert checked_phrase(" Okay, glasses! ") == "Okay glasses"
    for phrase in ("glasses", "hey you", "", "óculos meus"):
        with pytest.raises(UserError, match="--wake"):
            checked_phrase(phrase)


def test_only_what_follows_the_phrase_is_answered_and_kept(parts: Parts, tmp_path: Path) -> None:
    async def scenario(address: str) -> Client:
        async with session(address, audio={"input": {"transcription": {}}}) as client:
            for text, answered in (
                ("I think the train leaves at seven.", False),
                ("Okay glasses, where did I leave my keys?", True),
                ("What is the weather like today?", True),  # no phrase is needed so soon
            ):
                await client.play(np.concatenate([speech(parts, text), QUIET]))
                await client.until("response.done" if answered else "x.wake")
        return client

    with wearing(parts, wake=PHRASE, ledger=Ledger(tmp_path)) as address:
        client = run(scenario(address))
    said = [event["transcript"] for event in client.events if event["type"] == "response.output_audio_transcript.done"]
    assert [event["awake"] for event in client.events if event["type"] == "x.wake"] == [False, True, True]
    assert len(said) == 2 and "keys" in said[0] and "weather" in said[1], said
    assert "glasses" not in said[0].lower()
    told = str([event for event in client.events if "transcri" in event["type"]]).lower()
    assert "train" not in told and "glasses" not in told
    assert client.kinds().count("input_audio_buffer.committed") == len(Ledger(tmp_path).entries()) == 2
