"""xiaozhi's ESP32 boards: their WebSocket protocol, with Opus both ways, in front of a session.

The protocol is that of https://github.com/78/xiaozhi-esp32 (docs/websocket.md and main/protocols): text frames are JSON
with a `type`, binary frames are Opus, bare (version 1) or behind a header (versions 2 and 3).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import struct
import time
from collections.abc import Callable
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.frames import CloseCode

from ayllu.device.audio.pcm import Resampler, from_pcm16
from ayllu.device.realtime.session import Session
from ayllu.serve.routing.app import App

log = logging.getLogger("uvicorn.error")

PATH = "/xiaozhi/v1/"
RATE, FRAME = 24_000, 60
"""Of what the boards are sent: samples a second, milliseconds of a packet."""
AHEAD = 0.3
"""Seconds of sound that are sent before their time: a board has room for little."""
HELLO_SECONDS = 10.0
"""A board waits so long for its greeting, and so does the server."""
MOST_PACKET, MOST_TEXT, MOST_UNREAD = 4000, 64 << 10, 4096
MODES = ("auto", "manual", "realtime")
MISSING = "no Opus here; install it with: pip install 'ayllu[webrtc]'"


def unwrapped(data: bytes, version: int) -> bytes:
    """The Opus packet of a binary frame; ValueError for what is none, and for a packet that is no sound."""
    head = {2: struct.Struct(">HHIII"), 3: struct.Struct(">BBH")}.get(version)
    if head is None:
        return data
    if len(data) < head.size:
        raise ValueError("the frame is shorter than its header")
    fields = head.unpack_from(data)
    kind, size = (fields[1] if version == 2 else fields[0]), fields[-1]
    if kind != 0 or len(data) - head.size != size:
        raise ValueError("the frame's header does not fit it")
    return data[head.size :]


def stamped(data: bytes, version: int) -> int:
    """Of a frame of version 2, the stamp of the packet that the board was playing; 0 for none.

    A board that has its echo cancelled by the server gives back the stamps of what it plays, in order.
    """
    return int(struct.unpack_from(">HHIII", data)[3]) if version == 2 and len(data) >= 16 else 0


def wrapped(packet: bytes, version: int, milliseconds: int) -> bytes:
    """A packet as a binary frame."""
    if version == 2:
        return struct.pack(">HHIII", 2, 0, 0, milliseconds & 0xFFFFFFFF, len(packet)) + packet
    return struct.pack(">BBH", 0, 0, len(packet)) + packet if version == 3 else packet


class Xiaozhi:
    """The route. `make` gives a session that writes to a queue; at most `most` boards at a time."""

    def __init__(self, make: Callable[[asyncio.Queue[str]], Session], most: int) -> None:
        self._make, self._most, self._open = make, most, 0

    def add_to(self, app: App) -> None:
        """Give `app` the route."""
        app.add_socket(PATH, self.connect)

    async def connect(self, socket: WebSocket) -> None:
        """One board, until it leaves."""
        await socket.accept()
        try:
            from ayllu.device.audio import opus  # noqa: F401
        except ModuleNotFoundError:
            await socket.close(CloseCode.INTERNAL_ERROR, MISSING)
            return
        if self._open >= self._most:
            await socket.close(CloseCode.TRY_AGAIN_LATER, f"{self._most} boards are connected; try again later")
            return
        self._open += 1
        out: asyncio.Queue[str] = asyncio.Queue(MOST_UNREAD)
        board = Board(socket, self._make(out), out)
        try:
            async with asyncio.TaskGroup() as group:
                await board.greet()
                working = [group.create_task(board.write()), group.create_task(board.play())]
                await board.read()
                for task in working:
                    task.cancel()
        except* (WebSocketDisconnect, RuntimeError):
            pass  # it has left
        except* (TimeoutError, ValueError):
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await socket.close(CloseCode.POLICY_VIOLATION, "this is not xiaozhi's protocol")
        finally:
            self._open -= 1
            await board.session.close()


class Board:
    """One connection."""

    def __init__(self, socket: WebSocket, session: Session, out: asyncio.Queue[str]) -> None:
        from ayllu.device.audio.opus import DECODED, Decoder, Encoder

        self._socket, self.session, self._out = socket, session, out
        self._version = 1
        self._decoder, self._encoder = Decoder(), Encoder(RATE, FRAME)
        self._hear = Resampler(DECODED, 16_000)
        self._mode: str | None = None
        self._sound: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        """What waits to be sent to the speaker: packets and what is told between them."""
        self._item: str | None = None
        self._sent = 0
        """Milliseconds of the item that were sent."""
        self._speaking = False

    async def greet(self) -> None:
        """Take the board's greeting, and give ours. Raises ValueError and TimeoutError."""
        async with asyncio.timeout(HELLO_SECONDS):
            hello = _parsed(await self._socket.receive_text())
        asked = hello.get("audio_params") or {}
        wrong = hello.get("type") != "hello" or hello.get("transport") != "websocket"
        if wrong or not isinstance(asked, dict) or asked.get("format", "opus") != "opus":
            raise ValueError("this is no greeting")
        version = hello.get("version", 1)
        self._version = version if version in (1, 2, 3) else 1
        await self.session.begin()
        features = hello.get("features")
        if isinstance(features, dict) and features.get("aec") is True:  # it wants the server to cancel its echo
            await self._do("x.echo_cancellation", on=True)
        params = {"format": "opus", "sample_rate": RATE, "channels": 1, "frame_duration": FRAME}
        await self._tell("hello", transport="websocket", audio_params=params)

    async def read(self) -> None:
        """Take what the board sends, until it leaves."""
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (data := message.get("bytes")) is not None:
                await self._listen(data)
            else:
                text = message.get("text") or ""
                if len(text) > MOST_TEXT:
                    raise ValueError("the message is too long")
                await self._take(_parsed(text))

    async def _listen(self, data: bytes) -> None:
        if self._mode is None:
            return  # nobody asked it to listen
        try:
            packet = unwrapped(data, self._version)
            if len(packet) > MOST_PACKET:
                raise ValueError("the packet is too long")
            sound = self._decoder.push(packet)
        except ValueError as error:
            log.info("a board's packet was passed over: %s", error)
            return
        stamp = stamped(data, self._version)
        if self._item is not None and 0 < stamp <= self._sent:
            self.session.echo.playing(self._item, stamp)
        await self.session.hear(self._hear.push(sound))

    async def _take(self, message: dict[str, Any]) -> None:
        match message.get("type"), message.get("state"):
            case "listen", "start":
                await self._start(message.get("mode"))
            case "listen", "stop" if self._mode == "manual":
                self._mode = None
                await self._do("input_audio_buffer.commit")
                await self._do("response.create")
            case "listen", "stop":
                self._mode = None
            case "abort", _:
                await self._interrupt()
                if self.session.reply is not None and self.session.reply.status == "in_progress":
                    await self._do("response.cancel")
            case _:
                pass  # wake words, states and tools of the board, which nothing here needs

    async def _start(self, mode: Any) -> None:
        if mode not in MODES:
            return
        self._mode = mode
        detection = None if mode == "manual" else {"type": "semantic_vad"}
        audio = {"input": {"transcription": {}, "turn_detection": detection}}
        await self._do("session.update", session={"type": "realtime", "audio": audio})
        await self._do("input_audio_buffer.clear")

    async def _do(self, kind: str, **fields: Any) -> None:
        await self.session.take(json.dumps({"type": kind, **fields}))

    async def write(self) -> None:
        """Turn the session's events into the board's messages."""
        while True:
            event = json.loads(await self._out.get())
            match event["type"]:
                case "conversation.item.input_audio_transcription.completed":
                    await self._tell("stt", text=event["transcript"])
                case "input_audio_buffer.speech_started" if self._mode == "realtime":
                    await self._interrupt()
                case "response.created":
                    self._put("tts", state="start")
                case "response.output_audio_transcript.delta":
                    self._put("tts", state="sentence_start", text=event["delta"].strip())
                case "response.output_audio.delta":
                    sound = from_pcm16(base64.b64decode(event["delta"]))
                    self._packets(event["item_id"], self._encoder.push(sound))
                case "response.done":
                    if event["response"]["status"] == "cancelled":
                        await self._interrupt()
                    elif event["response"]["status"] == "failed":
                        await self._alert(event["response"]["status_details"]["error"]["message"])
                    self._packets(None, self._encoder.flush())
                    self._put("tts", state="stop")
                case "error":
                    await self._alert(event["error"]["message"])

    def _put(self, kind: str, **fields: Any) -> None:
        self._sound.put_nowait((kind, fields))

    def _packets(self, item: str | None, packets: list[bytes]) -> None:
        for packet in packets:
            self._sound.put_nowait(("packet", (item, packet)))

    async def play(self) -> None:
        """Send the sound in its time, and what is told between."""
        due = 0.0
        while True:
            kind, what = await self._sound.get()
            if kind != "packet":
                self._speaking = what.get("state") != "stop"
                await self._tell(kind, **what)
                continue
            item, packet = what
            if item is not None and item != self._item:
                self._item, self._sent = item, 0
            now = time.monotonic()
            due = max(due, now - AHEAD)
            await asyncio.sleep(max(0.0, due - now))
            if self._speaking:
                await self._socket.send_bytes(wrapped(packet, self._version, self._sent))
                self._sent += FRAME
            due += FRAME / 1000

    async def _interrupt(self) -> None:
        """Stop the speaker; the context keeps what had been played by then, what was sent ahead not counted."""
        while not self._sound.empty():
            self._sound.get_nowait()
        self._encoder.reset()
        if not self._speaking:
            return
        self._speaking = False
        await self._tell("tts", state="stop")
        if self._item is not None:
            heard = max(0, self._sent - round(1000 * AHEAD))
            fields = {"item_id": self._item, "content_index": 0, "audio_end_ms": heard}
            await self._do("conversation.item.truncate", **fields)

    async def _alert(self, message: str) -> None:
        await self._tell("alert", status="error", message=message, emotion="sad")

    async def _tell(self, kind: str, **fields: Any) -> None:
        text = json.dumps({"type": kind, "session_id": self.session.id, **fields}, ensure_ascii=False)
        await self._socket.send_text(text)


def _parsed(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("this is no JSON") from None
    if not isinstance(message, dict):
        raise ValueError("a message is an object")
    return message
