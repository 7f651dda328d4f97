"""A board of xiaozhi's, written from its published protocol, against the real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from ayllu.device.audio.pcm import resample
from ayllu.device.bench.turns import room
from ayllu.device.bench.words import errors
from ayllu.device.simulated.loudspeaker import Loudspeaker
from support.parts import need_module
from support.serving.glasses import WIRE, run, speech, wearing

if TYPE_CHECKING:
    from ayllu.device.parts import Parts

need_module("av", "Opus comes with PyAV")


@pytest.fixture(scope="module")
def address(parts: Parts) -> Iterator[str]:
    with wearing(parts) as address:
        yield address


HELLO = {
    "type": "hello",
    "transport": "websocket",
    "audio_params": {"format": "opus", "sample_rate": 16_000, "channels": 1, "frame_duration": 60},
}


class Board:
    """Sends and takes as the firmware does, in the framing of a version."""

    def __init__(self, socket: Any, version: int) -> None:
        from ayllu.device.audio.opus import Decoder, Encoder

        self.socket, self.version = socket, version
        self.encoder, self.decoder = Encoder(16_000, 60), Decoder()
        self.session = ""
        self.told: list[dict[str, Any]] = []
        self.sound: list[np.ndarray] = []

    async def tell(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"session_id": self.session, "type": kind, **fields}))

    async def play(self, sound: np.ndarray, pace: float = 0.0) -> None:
        for packet in self.encoder.push(sound):
            head = {2: struct.pack(">HHIII", 2, 0, 0, 7, len(packet)), 3: struct.pack(">BBH", 0, 0, len(packet))}
            await self.socket.send(head.get(self.version, b"") + packet)
            await asyncio.sleep(pace * 0.06)

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        while True:
            message = await self.socket.recv()
            if isinstance(message, bytes):
                if self.version == 2:
                    assert struct.unpack(">HHIII", message[:16])[::4] == (2, len(message) - 16)
                elif self.version == 3:
                    assert struct.unpack(">BBH", message[:4]) == (0, 0, len(message) - 4)
                self.sound.append(self.decoder.push(message[{2: 16, 3: 4}.get(self.version, 0) :]))
                continue
            found = json.loads(message)
            self.told.append(found)
            if found["type"] == kind and all(found.get(name) == value for name, value in fields.items()):
                return dict(found)


@asynccontextmanager
async def board(address: str, version: int = 1, features: dict[str, bool] | None = None) -> AsyncIterator[Board]:
    headers = {"Protocol-Version": str(version), "Device-Id": "02:00:00:00:00:01", "Client-Id": "a"}
    place = address.replace("http", "ws") + "/xiaozhi/v1/"
    async with connect(place, additional_headers=headers) as socket:
        one = Board(socket, version)
        await socket.send(json.dumps({**HELLO, "features": features or {}, "version": version}))
        hello = await one.until("hello")
        assert hello["transport"] == "websocket" and hello["audio_params"]["frame_duration"] == 60
        one.session = hello["session_id"]
        yield one


@pytest.mark.parametrize("version, mode", [(1, "auto"), (2, "manual"), (3, "realtime")])
def test_a_board_asks_and_hears_the_answer(parts: Parts, address: str, version: int, mode: str) -> None:
    async def scenario() -> Board:
        async with board(address, version) as one:
            await one.tell("listen", state="start", mode=mode)
            after = 0.3 if mode == "manual" else 2.0
            await one.play(resample(speech(parts, "Where did I leave my keys?", after=after), WIRE, 16_000))
            if mode == "manual":
                await one.tell("listen", state="stop")
            await one.until("tts", state="stop")
            return one

    one = run(scenario())
    heard = next(message["text"] for message in one.told if message["type"] == "stt")
    assert errors("Where did I leave my keys?", heard)[0] <= 1, heard
    states = [message["state"] for message in one.told if message["type"] == "tts"]
    assert states[0] == "start" and states[-1] == "stop" and "sentence_start" in states
    said = " ".join(message["text"] for message in one.told if message.get("state") == "sentence_start")
    assert said.startswith("I heard")
    assert parts.final is not None
    again = parts.final.transcribe(resample(np.concatenate(one.sound), 48_000, 16_000))
    assert errors(said, again)[0] <= 2


def test_abort_stops_the_speaker(parts: Parts, address: str) -> None:
    async def scenario() -> tuple[Board, int]:
        async with board(address) as one:
            await one.tell("listen", state="start", mode="manual")
            long = "I want to go to the market and buy some apples, and then some bread for my mother."
            await one.play(resample(speech(parts, long), WIRE, 16_000))
            await one.tell("listen", state="stop")
            await one.until("tts", state="sentence_start")
            await asyncio.sleep(0.6)
            await one.tell("abort", reason="wake_word_detected")
            await one.until("tts", state="stop")
            count = len(one.sound)
            await one.tell("listen", state="start", mode="manual")
            await one.play(resample(speech(parts, "What time is it?"), WIRE, 16_000))
            await one.tell("listen", state="stop")
            await one.until("stt")
            await one.until("tts", state="stop")
            return one, count

    one, count = run(scenario())
    assert count * 0.06 < 2.5  # the whole answer takes about six seconds
    assert [message["text"] for message in one.told if message["type"] == "stt"][-1].lower().startswith("what time")


async def aloud(address: str, question: np.ndarray, aec: bool) -> Board:
    """A board that plays beside its open microphone, and gives back the stamps of what it plays."""
    loudspeaker = Loudspeaker(down=10, reverberation=0.3, delay=0.0)
    stamps: list[int] = []
    async with board(address, 2, {"mcp": True, "aec": aec}) as one:
        await one.tell("listen", state="start", mode="realtime")
        for at in range(0, len(question) + 6 * 16_000, 960):
            sound = np.zeros(960, np.float32)
            sound[: len(question[at : at + 960])] = question[at : at + 960]
            stamp = stamps.pop(0) if stamps else 0
            sound += loudspeaker.heard(960) + room(960, at)
            for packet in one.encoder.push(sound):
                await one.socket.send(struct.pack(">HHIII", 2, 0, 0, stamp, len(packet)) + packet)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.06):
                    while True:
                        message = await one.socket.recv()
                        if isinstance(message, str):
                            one.told.append(json.loads(message))
                            continue
                        stamps.append(struct.unpack_from(">HHIII", message)[3])
                        loudspeaker.play(resample(one.decoder.push(message[16:]), 48_000, 16_000))
        return one


def test_a_board_that_asks_for_it_does_not_hear_itself(parts: Parts, address: str) -> None:
    need_module("pywebrtc_audio", "it cancels the echo")
    question = resample(speech(parts, "Where did I leave my keys this morning?"), WIRE, 16_000)
    told = {aec: run(aloud(address, question, aec)).told for aec in (True, False)}
    answers = {aec: sum(message.get("state") == "start" for message in told[aec]) for aec in told}
    assert answers[True] == 1 < answers[False]


def test_packets_that_are_none_are_passed_over_and_the_board_is_still_heard(parts: Parts, address: str) -> None:
    async def scenario() -> Board:
        async with board(address, 3) as one:
            await one.tell("listen", state="start", mode="manual")
            for wrong in (b"", b"\x00", b"\x00\x00\x00\x09abc", b"\x01\x00\x00\x01a", bytes(6000)):
                await one.socket.send(wrong)
            await one.tell("listen", state="start", mode="dance")
            await one.tell("mcp", payload={"jsonrpc": "2.0"})
            await one.play(resample(speech(parts, "Play some quiet music."), WIRE, 16_000))
            await one.tell("listen", state="stop")
            await one.until("tts", state="stop")
            return one

    assert any("music" in message.get("text", "") for message in run(scenario()).told)


@pytest.mark.parametrize("first", ["none", "[1]", '{"type": "hello"}', '{"type": "listen", "state": "start"}'])
def test_who_gives_no_greeting_is_let_go(address: str, first: str) -> None:
    async def scenario() -> int:
        async with connect(address.replace("http", "ws") + "/xiaozhi/v1/") as socket:
            await socket.send(first)
            try:
                await socket.recv()
            except ConnectionClosed as closed:
                assert closed.rcvd is not None
                return closed.rcvd.code
        return 0

    assert run(scenario()) == 1008
