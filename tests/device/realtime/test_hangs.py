"""A part that hangs is given up after a bound, told in one sentence, and the session goes on."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ayllu.device.worker import Worker
from support.serving.glasses import WIRE, Client, run, session, speech, wearing

if TYPE_CHECKING:
    from ayllu.device.parts import Parts

QUIET = np.zeros(2 * WIRE, np.float32)
MANUAL = {"audio": {"input": {"turn_detection": None}}}
HELLO = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "one two three"}]}
FAILED = "conversation.item.input_audio_transcription.failed"


class Hangs:
    """A real part, none of whose calls that begin before `well` is set comes back while a test runs."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.well, self.free = inner, threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._hanging(found) if name in ("transcribe", "say", "finished", "look") else found

    def _hanging(self, work: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            if not self.well.is_set():
                self.free.wait(120)
            return work(*given, **named)

        return call


@dataclass
class Hung:
    """Parts of which one hangs."""

    parts: Parts
    part: Hangs


@pytest.fixture
def hang(parts: Parts) -> Iterator[Callable[..., Hung]]:
    made: list[tuple[Hangs, Worker]] = []

    def make(role: str, worker: str, **others: Any) -> Hung:
        part, thread = Hangs(getattr(parts, role)), Worker(f"the {role}", seconds=1.5)
        made.append((part, thread))
        return Hung(dataclasses.replace(parts, **{role: part, worker: thread}, **others), part)

    yield make
    for part, thread in made:
        part.free.set()
        thread.close()


def test_a_recogniser_that_hangs_is_given_up_and_the_next_turn_is_answered(
    parts: Parts, hang: Callable[..., Hung]
) -> None:
    stuck = hang("recogniser", "following", final=None)

    async def scenario(address: str) -> Client:
        async with session(address, audio={"input": {"transcription": {}}}) as client:
            await client.play(np.concatenate([speech(parts, "Hello there."), QUIET]))
            await client.until(FAILED)
            stuck.part.well.set()
            await client.play(np.concatenate([speech(parts, "What is the weather like today?"), QUIET]))
            await client.until("response.done")
            return client

    with wearing(stuck.parts) as address:
        client = run(scenario(address))
    told = next(event["error"]["message"] for event in client.events if event["type"] == FAILED)
    assert told.startswith("what was said could not be understood: the recogniser took more than")
    said = [event["transcript"] for event in client.events if event["type"] == "response.output_audio_transcript.done"]
    assert len(said) == 1 and "weather" in said[0]


def test_push_to_talk_does_not_wait_for_a_recogniser_that_hangs(parts: Parts, hang: Callable[..., Hung]) -> None:
    stuck = hang("final", "rescoring")

    async def scenario(address: str) -> list[str]:
        async with session(address, **MANUAL) as client:
            await client.play(speech(parts, "Where did I leave my keys?"))
            await client.send("input_audio_buffer.commit")
            failed = await client.until(FAILED)
            stuck.part.well.set()
            await client.play(speech(parts, "Where did I leave my keys?"))
            await client.send("input_audio_buffer.commit")
            await client.send("response.create")
            done = await client.until("response.done")
            return [failed["error"]["message"], done["response"]["output"][0]["content"][0]["transcript"]]

    with wearing(stuck.parts) as address:
        told, said = run(scenario(address))
    assert "the final took more than" in told and "keys" in said


def test_a_voice_that_hangs_fails_one_answer_and_speaks_the_next(parts: Parts, hang: Callable[..., Hung]) -> None:
    stuck = hang("voice", "speaking")

    async def scenario(address: str) -> list[dict[str, Any]]:
        async with session(address, **MANUAL) as client:
            found = []
            for _ in range(2):
                await client.send("conversation.item.create", item=HELLO)
                await client.send("response.create")
                found.append((await client.until("response.done"))["response"])
                stuck.part.well.set()
            return found

    with wearing(stuck.parts) as address:
        failed, spoken = run(scenario(address))
    assert failed["status"] == "failed"
    assert failed["status_details"]["error"]["message"].startswith("the voice took more than")
    assert spoken["status"] == "completed" and spoken["output"]
