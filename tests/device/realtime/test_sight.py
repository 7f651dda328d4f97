"""Pictures over the Realtime protocol, with the official client and by hand, against the real models."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openai
import pytest
from PIL import Image

from ayllu.device.audio.pcm import from_pcm16, resample
from ayllu.device.bench.words import errors
from ayllu.device.privacy.ledger import Ledger
from ayllu.device.realtime import sight
from ayllu.device.realtime.sight import NO_PICTURE
from ayllu.device.see.answer import CANNOT
from support.pictures import data_url, jpeg, sign
from support.serving.glasses import WIRE, Client, run, session, speech, wearing

if TYPE_CHECKING:
    from ayllu.device.parts import Parts
    from ayllu.device.see.picture import Pixels
    from ayllu.device.see.scene import Scene

MANUAL = {"audio": {"input": {"turn_detection": None}}, "output_modalities": ["text"]}
PLATFORM = data_url(jpeg(sign("Platform 4", "to London")))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def address(parts: Parts, home: Path) -> Iterator[str]:
    if parts.eyes is None:
        pytest.fail("the eyes could not be loaded")
    with wearing(parts, ledger=Ledger(home)) as address:
        yield address


def picture(url: str, *words: str) -> dict[str, Any]:
    content = [{"type": "input_image", "image_url": url}, *({"type": "input_text", "text": text} for text in words)]
    return {"type": "message", "role": "user", "content": content}


async def asked(client: Client, *questions: str, url: str = PLATFORM) -> list[str]:
    """The answers to questions, the first of which comes with a picture."""
    answers = []
    for place, words in enumerate(questions):
        text = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": words}]}
        await client.send("conversation.item.create", item=text if place else picture(url, words))
        await client.send("response.create")
        done = await client.until("response.done")
        answers.append(done["response"]["output"][0]["content"][0]["text"])
    return answers


def test_the_official_client_sends_a_picture_and_hears_the_sign_read_aloud(parts: Parts, address: str) -> None:
    async def scenario() -> list[Any]:
        got: list[Any] = []
        async with (
            openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="k") as client,
            client.realtime.connect(model="gpt-realtime") as connection,
        ):
            item: Any = picture(PLATFORM, "What does the sign say?")
            await connection.conversation.item.create(item=item)
            await connection.response.create()
            async for event in connection:
                got.append(event)
                if event.type == "response.done":
                    return got
        return got

    got = run(scenario())
    by_type = {event.type: event for event in got}
    assert by_type["response.done"].response.status == "completed"
    said = by_type["response.output_audio_transcript.done"].transcript
    assert errors("It says Platform 4; to London.", said)[0] == 0
    sound = from_pcm16(b"".join(base64.b64decode(e.delta) for e in got if e.type == "response.output_audio.delta"))
    assert parts.final is not None
    assert errors("It says platform four to London", parts.final.transcribe(resample(sound, WIRE, 16_000)))[0] <= 1


def test_answers_rest_on_what_was_seen_and_the_picture_is_not_kept(address: str, home: Path) -> None:
    async def scenario() -> tuple[list[str], Client]:
        async with session(address, **MANUAL) as client:
            said = await asked(
                client, "Please read the sign.", "What colour is the sign?", "Do you see a dog?", "Say hello."
            )
            return said, client

    said, client = run(scenario())
    assert errors("It says Platform 4; to London", said[0])[0] == 0
    assert said[1] == "It is green, with white writing." and said[2] == CANNOT
    assert said[3] == "I heard: Say hello."  # no question about sight
    seen = next(event for event in client.events if event["type"] == "x.seen")
    assert [one["kind"] for one in seen["statements"][:2]] == ["writing", "writing"]
    grounded = [event for event in client.events if event["type"] == "x.grounded"]
    assert [bool(event["rests_on"]) for event in grounded] == [True, True, False]
    left, top, right, bottom = grounded[0]["rests_on"][0]["box"]
    assert 0.05 < left < right < 0.6 and 0.05 < top < bottom < 0.3
    added = next(event for event in client.events if event["type"] == "conversation.item.added")
    assert "image_url" not in added["item"]["content"][0]
    entry = Ledger(home).entries()[-1].content
    assert entry is not None and entry["what"] == "camera" and entry["bytes"] > 1000 and "London" not in str(entry)


@pytest.mark.parametrize(
    "url, told",
    [("https://example.com/a.jpg", "not fetched"), ("data:image/png;base64,AAAA", "no picture of the kinds")],
)
def test_what_is_no_picture_is_said_and_the_session_lives_on(address: str, url: str, told: str) -> None:
    async def scenario() -> Client:
        async with session(address, **MANUAL) as client:
            await client.send("conversation.item.create", item=picture(url))
            await client.until("error")
            assert await asked(client, "Read it", url=data_url(jpeg(Image.new("RGB", (320, 240))))) != []
            return client

    client = run(scenario())
    problem = next(event["error"] for event in client.events if event["type"] == "error")
    assert told in problem["message"] and client.events[-1]["response"]["status"] == "completed"
    assert client.events[-1]["response"]["output"][0]["content"][0]["text"].startswith(CANNOT)


def test_a_question_asked_aloud_asks_the_camera_once_and_is_answered_from_its_picture(
    parts: Parts, address: str
) -> None:
    async def scenario(answers: bool) -> Client:
        async with session(address, output_modalities=["text"]) as client:
            await client.send("x.camera", on=True)
            await client.play(np.concatenate([speech(parts, "Please read the sign in front of me."), QUIET]))
            await client.until("x.look")
            if answers:
                await client.send("conversation.item.create", item=picture(PLATFORM))
            await client.until("response.done")
            return client

    client = run(scenario(True))
    assert "London" in client.events[-1]["response"]["output"][0]["content"][0]["text"]
    assert client.kinds().count("x.look") == 1
    silent = run(scenario(False))
    assert silent.events[-1]["response"]["output"][0]["content"][0]["text"] == NO_PICTURE


QUIET = np.zeros(2 * WIRE, np.float32)


def test_a_picture_that_takes_longer_to_look_at_than_to_send_is_waited_for(
    parts: Parts, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parts.eyes is not None
    view = parts.eyes.view

    def slowly(data: bytes) -> tuple[Scene, Pixels]:
        time.sleep(2.5)
        return view(data)

    monkeypatch.setattr(sight, "PATIENCE", 1.0)
    monkeypatch.setattr(parts.eyes, "view", slowly)

    async def scenario() -> Client:
        async with session(address, output_modalities=["text"]) as client:
            await client.send("x.camera", on=True)
            await client.play(np.concatenate([speech(parts, "Please read the sign in front of me."), QUIET]))
            await client.until("x.look")
            await client.send("conversation.item.create", item=picture(PLATFORM))
            await client.until("response.done")
            return client

    assert "London" in run(scenario()).events[-1]["response"]["output"][0]["content"][0]["text"]


def test_a_picture_that_finds_no_place_is_not_waited_for(parts: Parts, address: str) -> None:
    async def scenario() -> Client:
        async with session(address, output_modalities=["text"]) as client:
            await client.send("x.camera", on=True)
            await client.play(np.concatenate([speech(parts, "Please read the sign in front of me."), QUIET]))
            await client.until("x.look")
            await client.send("conversation.item.create", item=picture(PLATFORM), previous_item_id="nobody")
            await client.until("response.done")
            return client

    assert run(scenario()).events[-1]["response"]["output"][0]["content"][0]["text"] == NO_PICTURE


def test_no_picture_is_taken_before_somebody_has_said_yes(parts: Parts) -> None:
    async def scenario(address: str) -> dict[str, Any]:
        async with session(address) as client:
            await client.send("conversation.item.create", item=picture(PLATFORM))
            return await client.until("error")

    with wearing(parts, consent="ask") as address:
        assert run(scenario(address))["error"]["code"] == "consent_required"
