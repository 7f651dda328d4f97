"""Text cut where a voice may begin, and the voice itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ayllu.device.audio.pcm import resample
from ayllu.device.bench.words import errors, normalised
from ayllu.device.speak.clauses import Clauses
from ayllu.device.speak.phonemes import phonemes
from ayllu.device.speak.speaker import Spoken, speak, words_in
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.device.parts import Parts


def cut(*tokens: str) -> list[str]:
    clauses = Clauses()
    return [piece for token in tokens for piece in clauses.push(token)] + clauses.close()


def test_the_first_piece_ends_at_the_first_pause_and_later_ones_at_sentences() -> None:
    assert cut("Sure, the museum, ", "which is old, opens at nine. ", "It closes at six.") == [
        "Sure,",
        "the museum, which is old, opens at nine.",
        "It closes at six.",
    ]


@pytest.mark.parametrize(
    "tokens",
    [("I paid $3.", "50"), ("Ask Dr. Smith",), ("Come at 5 p.m. tomorrow",)],
)
def test_a_full_stop_that_ends_nothing_cuts_nothing(tokens: tuple[str, ...]) -> None:
    assert cut(*tokens) == ["".join(tokens)]


def test_a_long_first_sentence_without_a_pause_is_cut_between_words() -> None:
    sentence = "A sentence that nobody ever thought of ending at all goes on"
    pieces = cut(*(word + " " for word in sentence.split()))
    assert len(pieces) == 2 and 18 <= len(pieces[0]) <= 44
    assert " ".join(pieces) == sentence


def test_words_share_the_time_of_their_piece() -> None:
    words = words_in("Yes, certainly not.", 22_050, 22_050)
    assert [word.text for word in words] == ["Yes,", "certainly", "not."]
    assert words[0].start == 0 and all(a.end == b.start for a, b in pairwise(words))
    assert words[-1].end < 22_050


def test_what_the_voice_says_is_understood_and_begins_at_once(parts: Parts) -> None:
    text_said = "The train leaves at nine, and it takes two hours. Do not be late."

    async def text() -> AsyncIterator[str]:
        for word in [
            "The",
            "train",
            "leaves",
            "at",
            "nine,",
            "and",
            "it",
            "takes",
            "two",
            "hours.",
            "Do",
            "not",
            "be",
            "late.",
        ]:
            yield word + " "

    async def scenario() -> list[Spoken]:
        return [piece async for piece in speak(parts, text())]

    pieces = asyncio.run(scenario())
    assert pieces[0].text == "The train leaves at nine,"
    assert len(pieces) == 3
    assert all(np.abs(piece.audio[: piece.rate // 20]).max() > 0.01 for piece in pieces)
    sound = np.concatenate([piece.audio for piece in pieces])
    assert parts.final is not None
    heard = parts.final.transcribe(resample(sound, pieces[0].rate, 16_000))
    assert errors(text_said, heard)[0] <= 1


def test_nothing_to_pronounce_is_no_sound(parts: Parts) -> None:
    assert len(parts.voice.say("...")) == 0


def test_a_missing_phoneme_program_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="install it"):
        phonemes("Something never said before", "en-us")


def test_numbers_and_case_are_no_errors() -> None:
    assert normalised("At 10:30, 42% of Them!") == normalised("at ten thirty forty two percent of them")
    assert normalised("It is -5 now, −12 at night") == normalised("it is minus five now minus twelve at night")
    assert errors("turn the volume down", "turn a volume") == (2, 4)


def test_a_sign_or_an_accent_that_was_not_heard_is_an_error() -> None:
    assert errors("It is -5 degrees", "It is 5 degrees") == (1, 5)
    assert normalised("From 2-3 to 10-12") == normalised("from two three to ten twelve")
    assert errors("¿Vienes mañana, sí o no?", "vienes manana si o no") == (2, 5)
    assert normalised("El an\u0303o") == normalised("el año") == ["el", "año"]
    assert normalised("हिन्दी भाषा, 20 m²।") == ["हिन्दी", "भाषा", "twenty", "m²"]
