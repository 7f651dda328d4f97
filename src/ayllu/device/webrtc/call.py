"""One call: a session whose sound travels on tracks and whose events travel on the data channel `oai-events`."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Coroutine
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from ayllu.device.audio.pcm import Resampler, from_pcm16
from ayllu.device.realtime.items import new_id
from ayllu.device.realtime.session import Session
from ayllu.device.webrtc.tracks import RATE, Heard, SpeakingTrack, jpeg_of
from ayllu.serve.errors import ApiError

log = logging.getLogger("uvicorn.error")

CHANNEL = "oai-events"
LARGEST = 262_144
"""Bytes of one message: what browsers and aiortc announce; above what the peer announces `send` raises."""
MOST_WAITING = 4 << 20
"""Bytes that wait in the data channel before the peer counts as reading nothing."""
WIRE = 24_000
CONNECTING = 30.0
"""Seconds that a call may take to be connected."""


class Call:
    """A peer. `out` is the queue that the session writes to."""

    def __init__(self, session: Session, out: asyncio.Queue[str]) -> None:
        self.id = new_id("rtc")
        self._session, self._out = session, out
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._track = SpeakingTrack(self._ran_dry)
        self._resampler = Resampler(WIRE, RATE)
        self._channel: Any = None
        self._video: Any = None
        self._newest: Any = None
        self._response: str | None = None
        self._more = False
        """Whether sound of the response may still come."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.ended = asyncio.Event()

    async def answer(self, sdp: str) -> str:
        """Take an offer; gives the answer. Raises ApiError where it is none."""
        peer = self._peer
        peer.on("datachannel", self._on_channel)
        peer.on("track", self._on_track)
        peer.on("connectionstatechange", self._on_state)
        try:
            await peer.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
            if not any(one.kind == "audio" for one in peer.getTransceivers()):
                raise ValueError("there is no audio in it")
            peer.addTrack(self._track)
            await peer.setLocalDescription(await peer.createAnswer())
        except ApiError:
            raise
        except Exception as error:
            log.info("an offer was not taken: %s", error)
            await self.close()
            raise ApiError(400, "the body is no offer with audio in SDP", param="sdp", code="invalid_offer") from None
        self._keep(self._timed())
        return str(peer.localDescription.sdp)

    async def close(self) -> None:
        """Hang up."""
        if self.ended.is_set():
            return
        self.ended.set()
        await self._session.close()
        await self._peer.close()
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()

    async def _timed(self) -> None:
        await asyncio.sleep(CONNECTING)
        if self._channel is None:
            await self.close()

    def _on_state(self) -> None:
        if self._peer.connectionState in ("failed", "closed", "disconnected"):
            self._keep(self.close())

    def _on_channel(self, channel: Any) -> None:
        if channel.label != CHANNEL or self._channel is not None:
            return
        self._channel = channel
        channel.on("message", lambda text: self._keep_order(text))
        channel.on("close", lambda: self._keep(self.close()))
        self._incoming: asyncio.Queue[str] = asyncio.Queue()
        self._keep(self._read())
        self._keep(self._begin())

    async def _begin(self) -> None:
        await self._session.begin()
        if self._video is not None:
            await self._session.take(json.dumps({"type": "x.camera", "on": True}))
        await self._write()

    def _keep_order(self, text: Any) -> None:
        self._incoming.put_nowait(text if isinstance(text, str) else bytes(text).decode(errors="replace"))

    async def _read(self) -> None:
        while True:
            text = await self._incoming.get()
            if '"output_audio_buffer.clear"' in text:
                await self._interrupt()
            else:
                await self._session.take(text)

    def _on_track(self, track: Any) -> None:
        if track.kind == "audio":
            self._keep(self._hear(track))
        else:
            self._video = track
            self._keep(self._watch(track))

    async def _hear(self, track: Any) -> None:
        heard, full = Heard(), False
        while True:
            try:
                sound = heard.push(await track.recv())
            except MediaStreamError:
                return
            if self._channel is None:
                continue
            try:
                await self._session.hear(sound)
                full = False
            except ApiError as error:  # a full buffer, which is told once
                if not full:
                    await self._session.send("error", error={**error.body["error"], "event_id": None})
                full = True

    async def _watch(self, track: Any) -> None:
        """Keep the newest frame only: it is looked at when somebody asks."""
        try:
            while True:
                self._newest = await track.recv()
        except MediaStreamError:
            self._newest = None

    async def _write(self) -> None:
        while True:
            text = await self._out.get()
            event = json.loads(text)
            kind = event["type"]
            if kind == "response.output_audio.delta":
                self._say(event)
                continue
            self._tell(text)
            if kind == "input_audio_buffer.speech_started":
                await self._interrupt()
            elif kind == "response.done":
                self._more = False
                if event["response"]["status"] == "cancelled":
                    await self._interrupt()
            elif kind == "x.look" and self._newest is not None:
                await self._show()

    def _tell(self, text: str) -> None:
        if self._channel.readyState != "open":
            return
        if len(text.encode()) > LARGEST:
            kind = json.loads(text)["type"]
            told = {"type": "server_error", "code": "event_too_large", "param": None, "event_id": None}
            told["message"] = f"an event of type {kind} was left out: it has more than {LARGEST} bytes"
            text = json.dumps({"type": "error", "event_id": new_id("event"), "error": told})
        if self._channel.bufferedAmount > MOST_WAITING:
            self._keep(self.close())
            return
        try:
            self._channel.send(text)
        except ValueError:
            log.info("the peer takes no message of %d bytes", len(text))

    def _own(self, kind: str) -> None:
        fields = {"type": kind, "event_id": new_id("event"), "response_id": self._response}
        self._tell(json.dumps(fields))

    def _say(self, event: dict[str, Any]) -> None:
        if event["response_id"] != self._response:
            self._response, self._more = event["response_id"], True
            self._own("output_audio_buffer.started")
        samples = self._resampler.push(from_pcm16(base64.b64decode(event["delta"])))
        self._track.say(event["item_id"], samples)

    def _ran_dry(self) -> None:
        if not self._more and self._response is not None:
            self._own("output_audio_buffer.stopped")

    async def _interrupt(self) -> None:
        """Stop the sound; the context keeps what was sent of it."""
        cut = self._track.clear()
        self._resampler.reset()
        if cut is None:
            return
        self._own("output_audio_buffer.cleared")
        item, heard = cut
        fields = {"item_id": item, "content_index": 0, "audio_end_ms": heard}
        await self._session.take(json.dumps({"type": "conversation.item.truncate", **fields}))

    async def _show(self) -> None:
        run = asyncio.get_running_loop().run_in_executor
        data = await run(None, jpeg_of, self._newest)
        url = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
        item = {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": url}]}
        self._keep(self._session.take(json.dumps({"type": "conversation.item.create", "item": item})))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
