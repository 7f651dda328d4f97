"""The wearer's voice told from others': the network, the enrolment, and what a session passes over."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ayllu.data.archive import default_cache
from ayllu.device.audio.fbank import fbank
from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples, from_pcm16, resample
from ayllu.device.hear.wearer import LIKE, enrolled, likeness
from ayllu.device.privacy.ledger import Ledger
from ayllu.device.privacy.wearer import Wearer, forget
from ayllu.lab.error import UserError
from ayllu.serve.audio.sound_files import write_wav
from support.serving.glasses import WIRE, Client, run, session, speech, wearing

if TYPE_CHECKING:
    from ayllu.device.parts import Parts

SENTENCES = (
    "Could you tell me when the next train to the city leaves?",
    "I left my keys on the kitchen table this morning.",
    "Please read the sign in front of me, it is too far away.",
)
QUESTION = "What is the weather like today?"
QUIET = np.zeros(2 * WIRE, np.float32)


@pytest.fixture(scope="module")
def telling(parts: Parts) -> Iterator[Parts]:
    from ayllu.device.hear.campplus import CamPlus

    yield dataclasses.replace(parts, voices=CamPlus(default_cache()))


def stranger(text: str, voice: str = "en-gb+f3") -> Samples:
    """A sentence at the rate of the wire, in a voice of espeak-ng."""
    done = subprocess.run(["espeak-ng", "-v", voice, "--stdout", text], capture_output=True, check=True)
    with wave.open(io.BytesIO(done.stdout)) as file:
        return resample(from_pcm16(file.readframes(file.getnframes())), file.getframerate(), WIRE)


def at_16k(sound: Samples) -> Samples:
    return resample(sound, WIRE, RATE)


def home_of(parts: Parts, folder: Path) -> Wearer:
    assert parts.voices is not None
    wearer = Wearer(folder, parts.voices)
    wearer.enrol([at_16k(speech(parts, text)) for text in SENTENCES])
    return wearer


def test_a_voice_is_like_itself_and_unlike_others_in_noise_too(telling: Parts) -> None:
    voices = telling.voices
    assert voices is not None
    mine = enrolled([at_16k(speech(telling, text)) for text in SENTENCES], voices)
    assert mine is not None and abs(float(np.linalg.norm(mine)) - 1) < 1e-5
    clean = at_16k(speech(telling, QUESTION))
    noisy = clean + 0.3 * np.std(clean) * np.random.default_rng(0).standard_normal(len(clean)).astype(np.float32)
    likes = [likeness(mine, voices.of(sound)) for sound in (clean, noisy)]
    others = [likeness(mine, voices.of(at_16k(stranger(QUESTION, name)))) for name in ("en-us", "en-gb+f3")]
    assert min(likes) > LIKE > max(others), (likes, others)
    assert np.isfinite(voices.of(np.zeros(10, np.float32))).all()


def test_the_energies_are_those_of_kaldi() -> None:
    """What 440 Hz gives: the figures were computed by torchaudio 2.8's `kaldi.fbank` with 80 bands and no dither."""
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)
    energies = fbank(tone + 0.001 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32))
    assert energies.shape == (98, 80)
    assert np.allclose(energies.mean(axis=0), 0, atol=1e-4)


def test_sentences_of_two_voices_or_too_few_enrol_nobody(telling: Parts, tmp_path: Path) -> None:
    assert telling.voices is not None
    wearer = Wearer(tmp_path, telling.voices)
    mine = [at_16k(speech(telling, text)) for text in SENTENCES]
    with pytest.raises(UserError, match="too few"):
        wearer.enrol(mine[:2])
    with pytest.raises(UserError, match="different voices"):
        wearer.enrol([*mine[:2], at_16k(stranger(SENTENCES[2]))])
    assert wearer.voice is None and list(tmp_path.iterdir()) == []
    wearer.path.parent.mkdir()
    wearer.path.write_text("{}")
    with pytest.raises(UserError, match="enrol again"):
        _ = wearer.voice


def test_enrolling_by_files_keeps_numbers_only_and_erasing_takes_them(telling: Parts, tmp_path: Path) -> None:
    files = []
    for number, text in enumerate(SENTENCES):
        files.append(tmp_path / f"{number}.wav")
        files[-1].write_bytes(write_wav(at_16k(speech(telling, text)), RATE))
    home = tmp_path / "home"

    def ayllu(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ayllu.cli", "glasses", *arguments, "--home", str(home)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    done = ayllu("enrol", *map(str, files))
    assert done.returncode == 0 and "your voice is in" in done.stdout, done.stderr
    assert telling.voices is not None
    wearer = Wearer(home, telling.voices)
    assert wearer.knows(telling.voices.of(at_16k(speech(telling, QUESTION))))
    assert wearer.path.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(wearer.path.read_text())) == {"model", "made", "voice"}
    done = ayllu("erase", "--voice")
    assert (done.returncode, done.stdout) == (0, "the wearer's voice was erased\n"), done.stderr
    assert wearer.voice is None and not forget(home)
    assert ayllu("enrol").returncode == 2 and ayllu("erase", "--voice", "--everything").returncode == 2


def test_only_the_wearer_is_told_of_kept_and_answered(telling: Parts, tmp_path: Path) -> None:
    async def scenario(address: str) -> Client:
        async with session(address, audio={"input": {"transcription": {}}}) as client:
            await client.play(np.concatenate([speech(telling, "What time is it?"), QUIET]))
            await client.until("x.wearer", lambda event: event["known"] is False)
            await client.send("x.enrol", on=True)
            for text in SENTENCES:
                await client.play(np.concatenate([speech(telling, text), QUIET]))
                await client.until("x.enrol", lambda event, text=text: event["done"] is (text == SENTENCES[-1]))
            await client.play(np.concatenate([stranger("How far is it to the station?"), QUIET]))
            await client.until("x.wearer", lambda event: event["known"] is False)
            await client.play(np.concatenate([speech(telling, QUESTION), QUIET]))
            await client.until("response.done")
        return client

    assert telling.voices is not None
    with wearing(telling, ledger=Ledger(tmp_path), wearer=Wearer(tmp_path, telling.voices)) as address:
        client = run(scenario(address))
    events = [event for event in client.events if event["type"] == "x.wearer"]
    assert [(event["enrolled"], event["known"]) for event in events] == [
        (False, None),
        (False, False),
        (True, False),
        (True, True),
    ]
    for kind in ("speech_started", "speech_stopped", "committed"):
        assert client.kinds().count(f"input_audio_buffer.{kind}") == 1
    order = [kind for kind in client.kinds() if kind in ("input_audio_buffer.speech_started", "response.created")]
    assert order == ["input_audio_buffer.speech_started", "response.created"]
    told = str([event for event in client.events if "transcri" in event["type"]]).lower()
    assert "weather" in told and "station" not in told and "train" not in told
    whys = [entry.content["why"] for entry in Ledger(tmp_path).entries() if entry.content]
    assert whys == ["the wearer enrols", "somebody spoke"]


def test_a_bystander_does_not_stop_an_answer_and_the_wearer_does(telling: Parts, tmp_path: Path) -> None:
    long = "Tell me " + "and tell me again, please, " * 5 + "what the weather is like today."

    async def scenario(address: str) -> list[str]:
        ended = []
        async with session(address) as client:
            for sound in (stranger("How far is it to the station from here, do you know?"), speech(telling, long)):
                await client.send("conversation.item.create", item=message(long * 4))
                await client.send("response.create")
                await client.until("response.output_audio.delta")
                await client.play(sound)
                await client.play(QUIET)
                done = await client.until("response.done")
                ended.append(done["response"]["status"])
        return ended

    with wearing(telling, wearer=home_of(telling, tmp_path)) as address:
        assert run(scenario(address)) == ["completed", "cancelled"]


@pytest.mark.parametrize("gated", [False, True])
def test_the_own_voice_in_the_microphone_is_no_wearer(telling: Parts, tmp_path: Path, gated: bool) -> None:
    """A speaker that the microphone hears, 20 dB down, and nothing that cancels it: the glasses' own words stop them
    unless only the wearer may."""
    assert telling.voices is not None
    other = Wearer(tmp_path, telling.voices)
    other.enrol([at_16k(stranger(text)) for text in SENTENCES])
    long = "The museum closes at six, and the next train to the city leaves at seven from the station near the river. "

    async def scenario(address: str) -> str:
        async with session(address) as client:
            await client.send("conversation.item.create", item=message(long * 4))
            await client.send("response.create")
            await client.until("response.output_audio.delta")
            await client.play(np.concatenate([0.1 * speech(telling, long), QUIET]))
            done = await client.until("response.done")
            return str(done["response"]["status"])

    with wearing(telling, wearer=other if gated else None) as address:
        assert run(scenario(address)) == ("completed" if gated else "cancelled")


def test_glasses_that_answer_every_voice_enrol_nobody(parts: Parts) -> None:
    async def scenario(address: str) -> Client:
        async with session(address) as client:
            await client.send("x.enrol", on=True)
            await client.until("error")
        return client

    with wearing(parts) as address:
        client = run(scenario(address))
    assert client.events[-1]["error"]["code"] == "no_wearer" and "x.wearer" not in client.kinds()


def test_weights_that_are_no_tensors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from ayllu.device.hear import campplus

    data = io.BytesIO()
    torch.save({"head.conv1.weight": torch.zeros(1)}, data)
    monkeypatch.setattr(campplus, "read", lambda *_: {"model": data.getvalue()})
    with pytest.raises(UserError, match="not what they should be"):
        campplus.CamPlus(default_cache())


def message(text: str) -> dict[str, object]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
