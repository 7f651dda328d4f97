"""Audio requests are checked as if they were answered, and refused in one sentence that says what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

SOUND = ("hello.wav", b"RIFF")


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_what_is_missing_is_said(client: openai.OpenAI) -> None:
    calls: list[Any] = [
        lambda: client.audio.transcriptions.create(
            model="whisper-1", file=SOUND, language="en", timestamp_granularities=["word"], response_format="srt"
        ),
        lambda: client.audio.transcriptions.create(
            model="whisper-1", file=SOUND, chunking_strategy={"type": "server_vad", "threshold": 0.5}
        ),
        lambda: client.audio.translations.create(model="whisper-1", file=SOUND),
        lambda: client.audio.speech.create(model="tts-1", input="Hello", voice="alloy"),
    ]
    for call in calls:
        with pytest.raises(openai.APIStatusError, match=r"this server cannot (hear|speak): no") as refused:
            call()
        assert refused.value.status_code == 501
        assert refused.value.code == "not_implemented"


@pytest.mark.parametrize(
    ("form", "file", "param"),
    [
        ({}, SOUND, "model"),
        ({"model": "m", "temperature": "2"}, SOUND, "temperature"),
        ({"model": "m", "temperature": "warm"}, SOUND, "temperature"),
        ({"model": "m", "response_format": "mp3"}, SOUND, "response_format"),
        ({"model": "m", "stream": "perhaps"}, SOUND, "stream"),
        ({"model": "m", "timestamp_granularities[]": "hour"}, SOUND, "timestamp_granularities"),
        ({"model": "m", "volume": "11"}, SOUND, "volume"),
        ({"model": "m"}, ("a.txt", b"x"), "file"),
        ({"model": "m"}, ("a.wav", b""), "file"),
    ],
)
def test_transcriptions_are_checked_first(url: str, form: dict[str, str], file: tuple[str, bytes], param: str) -> None:
    reply = httpx2.post(f"{url}/v1/audio/transcriptions", data=form, files={"file": file})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param


@pytest.mark.parametrize(
    "wrong", [{"input": ""}, {"input": "x" * 4097}, {"speed": 5}, {"response_format": "midi"}, {"voice": 3}, {"x": 1}]
)
def test_speech_is_checked_first(url: str, wrong: dict[str, Any]) -> None:
    reply = httpx2.post(f"{url}/v1/audio/speech", json={"model": "m", "input": "Hello", "voice": "alloy", **wrong})
    assert reply.status_code == 400
