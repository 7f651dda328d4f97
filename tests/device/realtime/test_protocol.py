"""The Realtime protocol, with the official client and by hand, against the real models."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import openai
import pytest

from ayllu.device.audio.pcm import from_g711, from_pcm16, resample, to_g711, to_pcm16
from ayllu.device.bench.words import errors
from support.serving.glasses import WIRE, Client, run, session, speech, wearing

if TYPE_CHECKING:
    from ayllu.device.parts import Parts


@pytest.fixture(scope="module")
def address(parts: Parts) -> Iterator[str]:
    with wearing(parts) as address:
        yield address


def sound_of(events: list[dict[str, Any]]) -> np.ndarray:
    deltas = [event["delta"] for event in events if event["type"] == "response.output_audio.delta"]
    return from_pcm16(b"".join(map(base64.b64decode, deltas)))


QUIET = np.zeros(2 * WIRE, np.float32)
MANUAL = {"audio": {"input": {"turn_detection": None}}}
WEATHER = "What is the weather like today?"
TEXT = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "one two three four five six"}]}


def said_again(text: str) -> int:
    """How many of the question's words stand in a text."""
    return len(set(re.findall("[a-z]+", WEATHER.lower())) & set(re.findall("[a-z]+", text.lower())))


def test_the_official_client_talks_and_hears_the_answer(parts: Parts, address: str) -> None:
    async def scenario() -> list[Any]:
        got: list[Any] = []
        async with (
            openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="k") as client,
            client.realtime.connect(model="gpt-realtime") as connection,
        ):
            transcription: Any = {"model": "gpt-4o-mini-transcribe"}
            await connection.session.update(
                session={"type": "realtime", "audio": {"input": {"transcription": transcription}}}
            )
            audio = np.concatenate([speech(parts, WEATHER), QUIET])
            for at in range(0, len(audio), 1_200):
                piece = base64.b64encode(to_pcm16(audio[at : at + 1_200])).decode()
                await connection.input_audio_buffer.append(audio=piece)
            async for event in connection:
                got.append(event)
                kinds = [one.type for one in got]
                completed = "conversation.item.input_audio_transcription.completed" in kinds
                if completed and "response.done" in kinds:
                    return got
        return got

    got = run(scenario())
    by_type = {event.type: event for event in got}
    started, stopped = (by_type[f"input_audio_buffer.speech_{what}"] for what in ("started", "stopped"))
    assert started.item_id == stopped.item_id == by_type["input_audio_buffer.committed"].item_id
    assert started.audio_start_ms < 300 < stopped.audio_end_ms
    completed = by_type["conversation.item.input_audio_transcription.completed"]
    assert completed.item_id == started.item_id
    assert errors(WEATHER, completed.transcript)[0] <= 1
    response = by_type["response.done"].response
    assert response.status == "completed"
    said = by_type["response.output_audio_transcript.done"].transcript
    assert said.startswith("I heard:")
    sound = from_pcm16(b"".join(base64.b64decode(e.delta) for e in got if e.type == "response.output_audio.delta"))
    assert parts.final is not None
    assert errors(said, parts.final.transcribe(resample(sound, WIRE, 16_000)))[0] <= 2


def test_push_to_talk_in_g711_both_ways(parts: Parts, address: str) -> None:
    form = {"type": "audio/pcmu"}
    audio = {"input": {"turn_detection": None, "format": form, "transcription": {}}, "output": {"format": form}}

    async def scenario() -> Client:
        async with session(address, audio=audio) as client:
            data = to_g711(resample(speech(parts, WEATHER), WIRE, 8_000), "ulaw")
            await client.send("input_audio_buffer.append", audio=base64.b64encode(data).decode())
            await client.send("input_audio_buffer.commit")
            await client.until("conversation.item.input_audio_transcription.completed")
            await client.send("response.create")
            await client.until("response.done")
            return client

    client = run(scenario())
    assert "input_audio_buffer.speech_started" not in client.kinds()
    said = next(e["transcript"] for e in client.events if e["type"] == "response.output_audio_transcript.done")
    assert said_again(said) >= 3  # of six: a telephone's band tells words apart badly, keys from teeth
    deltas = [e["delta"] for e in client.events if e["type"] == "response.output_audio.delta"]
    sound = from_g711(b"".join(map(base64.b64decode, deltas)), "ulaw")
    assert parts.final is not None
    heard = parts.final.transcribe(resample(sound, 8_000, 16_000))
    assert said_again(heard) >= 3


def test_speech_stops_an_answer_and_the_context_keeps_what_was_heard(parts: Parts, address: str) -> None:
    """As the Python SDK does it: truncate, then cancel; the text answer shows what the model is told."""

    async def scenario(order: tuple[str, ...]) -> tuple[Client, dict[str, Any]]:
        async with session(address, **MANUAL) as client:
            await client.send("conversation.item.create", item=TEXT)
            await client.send("response.create")
            event = await client.until("response.output_audio.delta")
            for what in order:
                if what == "truncate":
                    fields = {"item_id": event["item_id"], "content_index": 0, "audio_end_ms": 200}
                    await client.send("conversation.item.truncate", **fields)
                else:
                    await client.send("response.cancel")
            await client.send("conversation.item.retrieve", item_id=event["item_id"])
            return client, await client.until("conversation.item.retrieved")

    for order in (("truncate", "cancel"), ("cancel", "truncate")):
        client, retrieved = run(scenario(order))
        assert retrieved["item"]["content"][0]["transcript"] in ("", "I")
        problems = [event["error"]["code"] for event in client.events if event["type"] == "error"]
        # The whole answer may have been made before the client's words came.
        assert problems in ([], ["response_cancel_not_active"])


def test_the_wearers_voice_ends_an_answer(parts: Parts, address: str) -> None:
    async def scenario() -> Client:
        async with session(address) as client:
            long = " ".join(["This is a long sentence that takes a while to say."] * 6)
            item = {**TEXT, "content": [{"type": "input_text", "text": long}]}
            await client.send("conversation.item.create", item=item)
            await client.send("response.create")
            await client.until("response.output_audio.delta")
            await client.play(speech(parts, "Stop, please.", before=0))
            await client.until("response.done")
            return client

    client = run(scenario())
    assert "input_audio_buffer.speech_started" in client.kinds()
    done = client.events[-1]["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
    assert done["output"][0]["status"] == "incomplete"


def test_items_are_inserted_retrieved_truncated_and_deleted(address: str) -> None:
    async def scenario() -> list[Any]:
        async with session(address, **MANUAL, output_modalities=["text"]) as client:
            first = {**TEXT, "id": "first", "content": [{"type": "input_text", "text": "first"}]}
            second = {**TEXT, "id": "second", "content": [{"type": "input_text", "text": "second"}]}
            await client.send("conversation.item.create", item=second)
            await client.send("conversation.item.create", item=first, previous_item_id="root")
            await client.send("response.create")
            before = await client.until("response.done")
            await client.send("conversation.item.delete", item_id="second")
            await client.until("conversation.item.deleted")
            await client.send("response.create", response={"metadata": {"a": "b"}, "conversation": "none"})
            after = await client.until("response.done")
            await client.send("conversation.item.retrieve", item_id="second")
            missing = await client.until("error")
            await client.send("conversation.item.truncate", item_id="first", content_index=0, audio_end_ms=1)
            return [before, after, missing, await client.until("error")]

    before, after, missing, refused = run(scenario())
    texts = [done["response"]["output"][0]["content"][0]["text"] for done in (before, after)]
    assert texts == ["I heard: second", "I heard: first"]
    assert after["response"]["metadata"] == {"a": "b"} and after["response"]["conversation_id"] is None
    assert missing["error"]["code"] == "item_not_found"
    assert "truncated" in refused["error"]["message"]


@pytest.mark.parametrize(
    "sent, told",
    [
        ("no json", "is not JSON"),
        ("[1]", "must be a JSON object"),
        ('{"type": "session.dance"}', "'session.dance' are not understood"),
        ('{"type": "input_audio_buffer.append", "audio": "???"}', "not base64"),
        ('{"type": "input_audio_buffer.append", "audio": "AAA="}', None),
        ('{"type": "input_audio_buffer.append"}', "must be a base64 text"),
        ('{"type": "input_audio_buffer.commit"}', "0 ms of sound"),
        ('{"type": "response.cancel"}', "no such response"),
        ('{"type": "response.create", "response": {"speed": 2}}', "response.speed is not known"),
        ('{"type": "session.update", "session": {"audio": {"output": {"voice": "nobody"}}}}', "there is no voice"),
        (
            '{"type": "session.update", "session": {"audio": {"input": {"noise_reduction": {"type": "near_field"}}}}}',
            "noise_reduction is not done here",
        ),
        ('{"type": "conversation.item.create", "item": {"type": "mcp_call"}}', "'mcp_call' are not understood"),
        (
            '{"type": "conversation.item.create", "item": {"type": "message", "role": "system",'
            ' "content": [{"type": "input_image", "image_url": "data:"}]}}',
            "'input_image' are not understood",
        ),
    ],
)
def test_what_is_not_understood_is_said_and_the_session_lives_on(address: str, sent: str, told: str | None) -> None:
    async def scenario() -> Client:
        async with session(address, **MANUAL, output_modalities=["text"]) as client:
            await client._socket.send(sent)
            if told is not None:
                await client.until("error")
            await client.send("conversation.item.create", item=TEXT)
            await client.send("response.create", event_id="mine")
            await client.until("response.done")
            return client

    client = run(scenario())
    problems = [event["error"] for event in client.events if event["type"] == "error"]
    assert len(problems) == (told is not None)
    assert all(told and told in problem["message"] for problem in problems)
    assert client.events[-1]["response"]["status"] == "completed"


def test_two_answers_at_once_are_refused_by_the_name_of_the_first(parts: Parts, address: str) -> None:
    async def scenario() -> Client:
        async with session(address, **MANUAL) as client:
            await client.send("conversation.item.create", item=TEXT)
            await client.send("response.create")
            await client.send("response.create", event_id="second")
            await client.until("error")
            await client.until("response.done")
            return client

    client = run(scenario())
    error = next(event["error"] for event in client.events if event["type"] == "error")
    assert error["code"] == "conversation_already_has_active_response" and error["event_id"] == "second"
    assert len(sound_of(client.events)) > WIRE


def test_settings_are_merged_and_told_and_openais_names_get_the_voice_that_is_here(address: str) -> None:
    async def scenario() -> dict[str, Any]:
        vad = {"type": "server_vad", "silence_duration_ms": 700}
        async with session(address, audio={"input": {"turn_detection": vad}}) as client:
            change = {"audio": {"output": {"voice": "marin"}, "input": {"turn_detection": {"type": "server_vad"}}}}
            await client.send("session.update", session={**change, "instructions": "Be brief.", "tracing": "auto"})
            return await client.until("session.updated")

    found = run(scenario())["session"]
    assert found["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 700
    assert found["audio"]["output"]["voice"].startswith("piper") and found["model"] == "none"
    assert found["instructions"] == "Be brief." and found["tracing"] is None
