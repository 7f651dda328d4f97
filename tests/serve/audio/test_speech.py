"""`/v1/audio` with the real ears and voice, by the official client."""

from __future__ import annotations

import io
import shutil
import struct
import wave
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest

from ayllu.data.archive import default_cache
from ayllu.serve.audio.sound_files import read_wav
from ayllu.serve.errors import ApiError
from support.parts import need, need_module
from support.serving.glasses import wearing

TEXT = "The museum opens at nine. Please buy two tickets."


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    need_module("ctranslate2", "the recogniser runs in ctranslate2")
    need(shutil.which("espeak-ng"), "espeak-ng gives the voice its phonemes")
    from ayllu.device.parts import load_parts

    parts = load_parts(default_cache())
    with wearing(parts) as address, openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client
    parts.close()


@pytest.fixture(scope="module")
def spoken(client: openai.OpenAI) -> bytes:
    return client.audio.speech.create(model="tts-1", input=TEXT, voice="alloy", response_format="wav").content


def test_what_is_spoken_is_understood_with_its_times(client: openai.OpenAI, spoken: bytes) -> None:
    with wave.open(io.BytesIO(spoken)) as file:
        seconds = file.getnframes() / file.getframerate()
    told = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", spoken), response_format="verbose_json")
    assert "museum opens at" in told.text.lower() and "tickets" in told.text.lower()
    assert told.segments and 0 <= told.segments[0].start < told.segments[-1].end <= seconds + 0.01
    plain = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", spoken), response_format="vtt")
    assert str(plain).startswith("WEBVTT\n\n00:00:0")
    stream = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", spoken), stream=True)
    assert [event.type for event in stream][-1] == "transcript.text.done"


def test_faster_speech_is_shorter_and_pcm_is_streamed(client: openai.OpenAI, spoken: bytes) -> None:
    options: dict[str, Any] = {"model": "tts-1", "input": TEXT, "voice": "alloy", "response_format": "pcm"}
    fast = client.audio.speech.create(**options, speed=2.0).content
    assert 0.3 < len(fast) / len(spoken) < 0.8


def test_silence_has_no_words(client: openai.OpenAI) -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(8_000)
        out.writeframes(bytes(4 * 8_000))
    told = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", file.getvalue()))
    assert told.text == ""


@pytest.mark.parametrize(
    "options, told",
    [
        ({"language": "qu"}, "'qu' is not understood"),
        ({"prompt": "Ayllu"}, "takes no prompt"),
        ({"temperature": 0.5}, "not drawn"),
        ({"timestamp_granularities": ["word"]}, "passages only"),
        ({"file": ("a.wav", b"RIFF....WAVE....")}, "damaged"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    client: openai.OpenAI, spoken: bytes, options: dict[str, Any], told: str
) -> None:
    given = {"model": "whisper-1", "file": ("a.wav", spoken), **options}
    with pytest.raises(openai.BadRequestError, match=told):
        client.audio.transcriptions.create(**given)


def test_a_voice_that_nobody_has_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="there is no voice"):
        client.audio.speech.create(model="tts-1", input="Hello", voice="nobody")


def wav(kind: int, bits: int, channels: int, body: bytes, *, size: int | None = None) -> bytes:
    form = struct.pack("<HHIIHH", kind, channels, 16_000, 0, 0, bits)
    data = b"data" + struct.pack("<I", len(body) if size is None else size) + body
    content = b"WAVEfmt " + struct.pack("<I", 16) + form + data
    return b"RIFF" + struct.pack("<I", len(content)) + content


def test_wav_files_of_all_common_kinds_say_the_same() -> None:
    half = np.array([0.5, -0.5, 0.25])
    files = {
        (1, 8): (half * 128 + 128).astype(np.uint8).tobytes(),
        (1, 16): (half * 2**15).astype("<i2").tobytes(),
        (1, 24): b"".join(int(value * 2**23).to_bytes(3, "little", signed=True) for value in half),
        (1, 32): (half * 2**31).astype("<i4").tobytes(),
        (3, 32): half.astype("<f4").tobytes(),
    }
    for (kind, bits), body in files.items():
        assert np.allclose(read_wav(wav(kind, bits, 1, body)).samples, half, atol=1e-2), (kind, bits)
    stereo = np.repeat(half, 2) * np.tile([1.0, 0.0], 3)
    assert np.allclose(read_wav(wav(3, 32, 2, stereo.astype("<f4").tobytes())).samples, half / 2)
    streamed = wav(3, 32, 1, half.astype("<f4").tobytes(), size=0xFFFFFFFF)
    assert len(read_wav(streamed).samples) == 3
    with pytest.raises(ApiError, match="format 7"):
        read_wav(wav(7, 8, 1, b"abc"))
