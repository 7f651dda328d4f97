"""The glasses' own voice, played aloud beside the microphone: it does not interrupt itself, and others are heard."""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ayllu.device.app import Wearing, serve_glasses
from ayllu.device.audio.pcm import Samples, from_pcm16, resample
from ayllu.device.bench.turns import room
from ayllu.device.bench.words import errors
from ayllu.device.hear.ear import RATE, Ear, Started
from ayllu.device.hear.echo import EchoCanceller, Playback
from ayllu.device.simulated.loudspeaker import Loudspeaker
from ayllu.device.simulated.noise import power
from ayllu.lab.error import UserError
from support.parts import need_module
from support.serving.glasses import WIRE, Client, run, session, speech, wearing

if TYPE_CHECKING:
    from ayllu.device.parts import Parts

need_module("pywebrtc_audio", "it cancels the echo")

ANSWER = "You left your keys on the kitchen table this morning, next to the letter from your brother about London."
ROOMS = [(10.0, 0.4), (20.0, 0.15), (30.0, 0.4)]
ASKED = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": ANSWER}]}
OVER = "What time is it in London now?"
SPEAKS = "input_audio_buffer.speech_started"
WRITTEN = "conversation.item.input_audio_transcription.completed"
PIECE, STEP, SECONDS = 1_600, 2_400, 8


def say(parts: Parts, text: str) -> Samples:
    return resample(parts.voice.say(text), parts.voice.rate, RATE)


def starts(parts: Parts, sound: Samples) -> list[int]:
    """At which samples somebody has been found to speak."""
    ear, found = Ear(parts.activity.stream()), []
    for at in range(0, len(sound), PIECE):
        found += [ear.heard for event in ear.push(sound[at : at + PIECE]) if isinstance(event, Started)]
        if ear.speaking and ear.silence > 500:
            ear.end()
    return found


def heard(answer: Samples, loudspeaker: Loudspeaker, wearer: Samples, seconds: float) -> tuple[Samples, Samples]:
    """The microphone while an answer is played, as it is and without the echo."""
    playback = Playback()
    canceller = EchoCanceller(playback)
    microphone = wearer[: int(seconds * RATE)] + room(int(seconds * RATE), 0)
    raw, clean = [], []
    for at in range(0, len(microphone), PIECE):
        if at == RATE // PIECE * PIECE:
            playback.said("answer", answer)
            loudspeaker.play(answer)
        raw.append(microphone[at : at + PIECE] + loudspeaker.heard(PIECE)[: len(microphone) - at])
        clean.append(canceller.push(raw[-1]))
    return np.concatenate(raw), np.concatenate(clean)


@pytest.mark.parametrize("down, reverberation", ROOMS)
def test_an_answer_that_is_played_aloud_is_nobody_who_speaks(parts: Parts, down: float, reverberation: float) -> None:
    loudspeaker = Loudspeaker(down=down, reverberation=reverberation, delay=0.2)
    raw, clean = heard(say(parts, ANSWER), loudspeaker, np.zeros(8 * RATE, np.float32), 8)
    assert starts(parts, raw) and not starts(parts, clean)
    assert down == 30 or np.mean(clean**2) < np.mean(raw**2) / 10  # at 30 dB the room is as loud as what is left


@pytest.mark.parametrize("down, reverberation", ROOMS)
def test_whoever_speaks_over_an_answer_is_heard(parts: Parts, down: float, reverberation: float) -> None:
    answer, words = say(parts, ANSWER), say(parts, "Turn the volume down a little.")
    wearer = np.zeros(8 * RATE, np.float32)
    wearer[3 * RATE : 3 * RATE + len(words)] = words * np.sqrt(power(answer) / power(words))
    loudspeaker = Loudspeaker(down=down, reverberation=reverberation, delay=0.2)
    found = starts(parts, heard(answer, loudspeaker, wearer, 8)[1])
    assert 3 * RATE < found[0] < 3 * RATE + len(words)


def test_a_client_that_plays_late_is_known_from_where_it_stopped(parts: Parts) -> None:
    """It has a second of sound before it begins: further back than the canceller looks."""
    answer, silence = say(parts, ANSWER), np.zeros(8 * RATE, np.float32)
    playback = Playback()
    canceller, loudspeaker = EchoCanceller(playback), Loudspeaker(down=10, reverberation=0.2, delay=1.0)
    found = []
    for item in ("first", "second", "third"):
        playback.said(item, answer)
        loudspeaker.play(answer)
        pieces = [canceller.push(loudspeaker.heard(PIECE) + silence[:PIECE]) for _ in range(40)]
        found.append(len(starts(parts, np.concatenate(pieces))))
        loudspeaker.stop()
        playback.stopped(item, 3_000)
        canceller.push(loudspeaker.heard(RATE))
    assert found[0] > 0 and found[2] == 0


def test_what_is_played_follows_the_microphone_and_ends_where_the_client_says() -> None:
    clock = [0.0]
    playback = Playback(lambda: clock[0])
    sound = np.arange(1, 1 + 10 * RATE, dtype=np.float32)
    playback.said("a", sound[:RATE])
    playback.said("a", sound[RATE:])
    assert not np.any(playback.take(100) - sound[:100])
    clock[0] = 2.0  # a network that halts: nothing is lost of either
    assert playback.take(1)[0] == 101
    clock[0] = 7.0  # the microphone rested
    assert playback.take(1)[0] == 102 + 5 * RATE
    playback.playing("a", 8_000)
    assert playback.take(1)[0] == 1 + 8 * RATE
    playback.playing("a", 7_000)  # a second later than was thought
    silent = playback.take(RATE)
    assert not silent[:14_401].any() and silent[14_401] == 2 + 8 * RATE
    playback.stopped("a", 7_900)
    playback.said("a", sound)  # what was still on its way
    assert not playback.take(RATE).any()
    playback.playing("unknown", 100)
    playback.said("b", sound[:160])
    assert playback.take(160)[-1] == 160


async def converse(address: str, parts: Parts, *, cancel: bool, over: str | None = None) -> Client:
    """A client that plays aloud in real time, and somebody who speaks over the answer in its third second."""
    loudspeaker = Loudspeaker(down=10, reverberation=0.3, delay=0.1)
    words = np.zeros(0, np.float32) if over is None else speech(parts, over, before=3.0)
    async with session(address, audio={"input": {"transcription": {}}}) as client:
        await client.send("x.echo_cancellation", on=cancel)
        await client.send("conversation.item.create", item=ASKED)
        await client.send("response.create")
        await client.until("response.done")
        loudspeaker.play(sound_of(client.events))
        for at in range(0, SECONDS * WIRE, STEP):
            echo = resample(loudspeaker.heard(PIECE), RATE, WIRE)
            part = words[at : at + STEP]
            sound = echo + room(STEP, at)
            sound[: len(part)] += part
            await client.play(sound)
            await asyncio.sleep(0.1)
        await client.until(SPEAKS if over is None else WRITTEN)
        return client


def sound_of(events: list[dict[str, Any]]) -> Samples:
    deltas = [event["delta"] for event in events if event["type"] == "response.output_audio.delta"]
    return resample(from_pcm16(b"".join(map(base64.b64decode, deltas))), WIRE, RATE)


def began(client: Client) -> list[int]:
    """When somebody has been told to speak, in milliseconds."""
    return [event["audio_start_ms"] for event in client.events if event["type"] == SPEAKS]


def test_a_session_hears_who_speaks_over_its_answer_and_not_the_answer(parts: Parts) -> None:
    with wearing(parts) as address:
        own = run(converse(address, parts, cancel=False))
    with wearing(parts, cancel_echo=True) as address:
        over = run(converse(address, parts, cancel=True, over=OVER))
    assert began(own)[0] < 2_500 < began(over)[0]
    assert errors(OVER, over.events[-1]["transcript"])[0] <= 2


def test_what_cannot_be_honoured_is_said(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(address: str) -> list[str]:
        async with session(address) as client:
            for on in ("yes", True):
                await client.send("x.echo_cancellation", on=on)
            return [(await client.until("error"))["error"]["message"] for _ in range(2)]

    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    with wearing(parts) as address:
        told = run(scenario(address))
    assert "true or false" in told[0] and "pip install 'ayllu[glasses]'" in told[1]
    with pytest.raises(UserError, match="no echo canceller here"):
        serve_glasses(Wearing(port=0, cancel_echo=True))
