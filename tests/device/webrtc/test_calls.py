"""Calls over WebRTC, with aiortc's own client, OpenAI's client, and Chromium."""

from __future__ import annotations

import asyncio
import fractions
import json
import shutil
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import openai
import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from ayllu.device.audio.pcm import resample, to_pcm16
from ayllu.device.bench.words import errors
from support.parts import need, need_module
from support.pictures import sign
from support.serving.glasses import WIRE, run, speech, wearing

if TYPE_CHECKING:
    from ayllu.device.parts import Parts

aiortc = need_module("aiortc", "calls are made by aiortc")
av = need_module("av", "calls are made by aiortc")
EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
RATE = 48_000


@pytest.fixture(scope="module")
def address(parts: Parts) -> Iterator[str]:
    with wearing(parts) as address:
        yield address


class Microphone(aiortc.MediaStreamTrack):  # type: ignore[name-defined, misc]
    """Plays sound once, then silence, in real time."""

    kind = "audio"

    def __init__(self, sound: np.ndarray) -> None:
        super().__init__()
        self.sound, self.at, self.start = sound, 0, time.monotonic()

    async def recv(self) -> Any:
        await asyncio.sleep(max(0.0, self.start + self.at / RATE - time.monotonic()))
        part = self.sound[self.at : self.at + 960]
        frame = av.AudioFrame(format="s16", layout="mono", samples=960)
        frame.planes[0].update(to_pcm16(np.pad(part, (0, 960 - len(part))).astype(np.float32)))
        frame.pts, frame.sample_rate, frame.time_base = self.at, RATE, fractions.Fraction(1, RATE)
        self.at += 960
        return frame


class Peer:
    """A client; every standard event must be one that OpenAI's SDK knows."""

    def __init__(self, sound: np.ndarray, picture: np.ndarray | None = None) -> None:
        self.connection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
        self.channel = self.connection.createDataChannel("oai-events")
        self.events: list[dict[str, Any]] = []
        self.loud: list[float] = []
        self._came = asyncio.Event()
        self.channel.on("message", self._message)
        self.connection.on("track", lambda track: asyncio.ensure_future(self._listen(track)))
        self.connection.addTrack(Microphone(sound))
        if picture is not None:
            self.connection.addTrack(Camera(picture))

    def _message(self, text: str) -> None:
        event = json.loads(text)
        if not event["type"].startswith("x.") and event["type"] != "output_audio_buffer.cleared":
            EVENT.validate_python(event, strict=False)
        self.events.append(event)
        self._came.set()

    async def _listen(self, track: Any) -> None:
        while True:
            try:
                frame = await track.recv()
            except aiortc.mediastreams.MediaStreamError:
                return
            self.loud.append(float(np.abs(frame.to_ndarray()).max()))

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def accept(self, sdp: str) -> None:
        await self.connection.setRemoteDescription(aiortc.RTCSessionDescription(sdp=sdp, type="answer"))

    async def until(self, kind: str) -> dict[str, Any]:
        while True:
            for event in self.events:
                if event["type"] == kind:
                    return event
            self._came.clear()
            await self._came.wait()

    def send(self, kind: str, **fields: Any) -> None:
        self.channel.send(json.dumps({"type": kind, **fields}))


class Camera(aiortc.VideoStreamTrack):  # type: ignore[name-defined, misc]
    """Shows one picture."""

    def __init__(self, picture: np.ndarray) -> None:
        super().__init__()
        self.picture = picture

    async def recv(self) -> Any:
        pts, base = await self.next_timestamp()
        frame = av.VideoFrame.from_ndarray(self.picture, format="rgb24")
        frame.pts, frame.time_base = pts, base
        return frame


def at_48k(parts: Parts, text: str, before: float = 1.0) -> np.ndarray:
    return resample(speech(parts, text, before=before), WIRE, RATE)


def test_openais_client_makes_a_call_and_the_answer_is_heard_on_the_track(parts: Parts, address: str) -> None:
    async def scenario() -> Peer:
        peer = Peer(at_48k(parts, "What is the weather like today?"))
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="k") as client:
            settings: Any = {"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
            answer = await client.realtime.calls.create(sdp=await peer.offer(), session=settings)
            assert answer.response.status_code == 201
            place = answer.response.headers["location"]
            await peer.accept(answer.text)
            await peer.until("output_audio_buffer.stopped")
            async with httpx2.AsyncClient() as http:
                assert (await http.post(f"{address}{place}/hangup")).status_code == 200
                assert (await http.post(f"{address}{place}/hangup")).status_code == 404
        await peer.connection.close()
        return peer

    peer = run(scenario())
    kinds = [event["type"] for event in peer.events]
    assert kinds[0] == "session.created" and "response.output_audio.delta" not in kinds
    heard = next(e for e in peer.events if e["type"] == "conversation.item.input_audio_transcription.completed")
    assert errors("What is the weather like today?", heard["transcript"])[0] <= 1
    assert kinds.index("output_audio_buffer.started") < kinds.index("output_audio_buffer.stopped")
    assert sum(loud > 1000 for loud in peer.loud) > 20


def test_speech_stops_the_track_and_the_context_keeps_what_was_sent(parts: Parts, address: str) -> None:
    async def scenario() -> Peer:
        peer = Peer(at_48k(parts, "Stop, please.", before=6.0))
        async with httpx2.AsyncClient() as http:
            headers = {"Content-Type": "application/sdp"}
            answer = await http.post(f"{address}/v1/realtime/calls", content=await peer.offer(), headers=headers)
        assert answer.headers["content-type"].startswith("application/sdp")
        await peer.accept(answer.text)
        await peer.until("session.created")
        long = " ".join(["This is a long sentence that takes a while to say."] * 8)
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": long}]}
        peer.send("conversation.item.create", item=item)
        peer.send("response.create")
        cut = await peer.until("conversation.item.truncated")
        peer.send("conversation.item.retrieve", item_id=cut["item_id"])
        await peer.until("conversation.item.retrieved")
        await peer.connection.close()
        return peer

    peer = run(scenario())
    kinds = [event["type"] for event in peer.events]
    assert "output_audio_buffer.cleared" in kinds
    cut = next(event for event in peer.events if event["type"] == "conversation.item.truncated")
    item = next(event for event in peer.events if event["type"] == "conversation.item.retrieved")["item"]
    said = item["content"][0]["transcript"]
    assert 500 < cut["audio_end_ms"] < 15_000 and said.startswith("I heard: This is") and said.count("while to say") < 8


def test_a_picture_travels_on_the_video_track(parts: Parts, address: str) -> None:
    async def scenario() -> Peer:
        peer = Peer(
            at_48k(parts, "Please read the sign in front of me.", before=2.0),
            np.asarray(sign("Platform 4", "to London", size=64)),
        )
        async with httpx2.AsyncClient() as http:
            headers = {"Content-Type": "application/sdp"}
            answer = await http.post(f"{address}/v1/realtime/calls", content=await peer.offer(), headers=headers)
        await peer.accept(answer.text)
        await peer.until("response.done")
        await peer.connection.close()
        return peer

    peer = run(scenario())
    done = next(event for event in peer.events if event["type"] == "response.done")["response"]
    assert "London" in done["output"][0]["content"][0]["transcript"]


FORM = '--x\r\nContent-Disposition: form-data; name="sdp"\r\n\r\nno\r\n--x--\r\n'


@pytest.mark.parametrize(
    "kind, body, status",
    [
        ("application/sdp", "v=0\r\n", 400),
        ("application/sdp", "no offer", 400),
        ("application/json", "{}", 415),
        (
            "multipart/form-data; boundary=x",
            '--x\r\nContent-Disposition: form-data; name="sdp"\r\n\r\nno\r\n--x--\r\n',
            400,
        ),
    ],
)
def test_what_is_no_offer_is_refused(address: str, kind: str, body: str, status: int) -> None:
    found = httpx2.post(f"{address}/v1/realtime/calls", content=body, headers={"Content-Type": kind})
    assert found.status_code == status and found.json()["error"]["message"]


def test_an_event_above_what_the_peer_takes_is_told_and_the_call_lives_on(address: str) -> None:
    async def scenario() -> Peer:
        peer = Peer(np.zeros(0, np.float32))
        async with httpx2.AsyncClient() as http:
            headers = {"Content-Type": "application/sdp"}
            answer = await http.post(f"{address}/v1/realtime/calls", content=await peer.offer(), headers=headers)
        await peer.accept(answer.text)
        await peer.until("session.created")
        # What the peer sends is below the limit; what comes back holds it, and all other settings.
        peer.send("session.update", session={"type": "realtime", "instructions": "\u0001" * 43_600})
        await peer.until("error")
        peer.send("conversation.item.create", item={"type": "dance"})
        await asyncio.sleep(0.2)
        await peer.connection.close()
        return peer

    peer = run(scenario())
    codes = [event["error"]["code"] for event in peer.events if event["type"] == "error"]
    assert codes[0] == "event_too_large" and codes[-1] == "invalid_value"


CALL = """
async (address) => {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const peer = new RTCPeerConnection();
  const events = [];
  const channel = peer.createDataChannel("oai-events");
  const player = new Audio();
  peer.ontrack = ({ track }) => { player.srcObject = new MediaStream([track]); player.play(); };
  peer.addTrack(stream.getTracks()[0], stream);
  await peer.setLocalDescription(await peer.createOffer());
  const answer = await fetch(`${address}/v1/realtime/calls`, {
    method: "POST", body: peer.localDescription.sdp, headers: { "Content-Type": "application/sdp" },
  });
  await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(JSON.stringify([peer.connectionState, events]))), 40000);
    channel.onmessage = ({ data }) => {
      events.push(JSON.parse(data));
      if (events.at(-1).type === "output_audio_buffer.stopped") resolve();
    };
  });
  const stats = [...(await peer.getStats()).values()];
  const received = stats.find(({ type, kind }) => type === "inbound-rtp" && kind === "audio");
  peer.close();
  return { events, energy: received.totalAudioEnergy };
}
"""


def test_chromium_makes_a_call(parts: Parts, address: str, tmp_path: Path) -> None:
    playwright = need_module("playwright.sync_api", "playwright is not installed")
    need(chromium := shutil.which("chromium"), "chromium is not installed")
    with wave.open(str(tmp_path / "microphone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        sound = at_48k(parts, "Where did I leave my keys?", before=2.0)
        file.writeframes(to_pcm16(np.pad(sound, (0, 15 * RATE)).astype(np.float32)))
    flags = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
        f"--use-file-for-fake-audio-capture={tmp_path / 'microphone.wav'}%noloop",
    ]
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox", *flags])
        page = browser.new_context(permissions=["microphone"]).new_page()
        page.goto(f"{address}/glasses")
        found = page.evaluate(CALL, address)
        browser.close()
    said = next(e["transcript"] for e in found["events"] if e["type"] == "response.output_audio_transcript.done")
    assert "keys" in said and found["energy"] > 0
