"""Turns to be played: what people say to glasses, in the voice itself at several speeds, some with a pause in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples, resample
from ayllu.device.parts import Voice
from ayllu.device.speak.speaker import AFTER, trimmed

PAUSE = "…"
"""Where the speaker stops to think, within a turn."""
SENTENCES = (
    "What is the weather like today?",
    "Remind me to call my mother this evening.",
    "How far is it to the train station?",
    "I would like to know when … the museum closes.",
    "Please read the sign in front of me.",
    "Who wrote the book about the white whale?",
    "Add milk and bread to the shopping list.",
    "What time is it in London now?",
    "Translate the menu into English, please.",
    "Can you tell me how long the … journey takes?",
    "Take a picture of the mountain.",
    "Where did I leave my keys?",
    "What is the name of this flower?",
    "Turn the volume down a little.",
    "Send a message to my brother that I am late.",
    "I want to go to the … market and buy some apples.",
    "How do I cook potatoes?",
    "Is there a pharmacy near here?",
    "Play some quiet music.",
    "What did she say about the meeting?",
)
SPEEDS = (1.0, 0.9, 1.1)
THINKING = 0.45
"""Seconds of such a pause."""
NOISE_DB = -60
"""A quiet room, below full scale."""


@dataclass(frozen=True, kw_only=True)
class SpokenTurn:
    """What is played, at 16 kHz; it ends with the last sound of the speech."""

    text: str
    audio: Samples


def make_turns(count: int, voice: Voice) -> list[SpokenTurn]:
    """The first `count` turns; sentences come again at another speed."""
    return [
        make_turn(SENTENCES[index % len(SENTENCES)], voice, SPEEDS[index // len(SENTENCES) % len(SPEEDS)])
        for index in range(count)
    ]


def make_turn(text: str, voice: Voice, speed: float = 1.0) -> SpokenTurn:
    """A sentence as sound, said in one breath; where `PAUSE` stands it is cut at the quietest place and held up."""
    before, _, _ = text.partition(f"{PAUSE} ")
    whole = text.replace(f"{PAUSE} ", "")
    audio = trimmed(voice.say(whole, speed=speed), voice.rate)
    audio = resample(audio[: len(audio) - int(AFTER * voice.rate)], voice.rate, RATE)
    if before != text:
        at = _quietest(audio, round(len(audio) * len(before) / len(whole)))
        audio = np.concatenate([audio[:at], np.zeros(int(THINKING * RATE), np.float32), audio[at:]])
    return SpokenTurn(text=whole, audio=audio)


def _quietest(audio: Samples, near: int) -> int:
    """The middle of the quietest 20 ms within a tenth of a second on either side."""
    starts = range(max(0, near - RATE // 10), min(len(audio) - RATE // 50, near + RATE // 10), RATE // 200)
    return min(starts, key=lambda start: float(np.abs(audio[start : start + RATE // 50]).mean())) + RATE // 100


def room(samples: int, seed: int) -> Samples:
    """The noise of a quiet room."""
    noise = np.random.default_rng(seed).standard_normal(samples, dtype=np.float32)
    return np.asarray(noise * 10 ** (NOISE_DB / 20), np.float32)
