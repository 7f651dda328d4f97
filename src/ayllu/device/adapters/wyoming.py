"""Home Assistant's Wyoming protocol: recognition and speech over TCP, for this machine only, as it has no keys.

Each event is a line of JSON, data of its own length, and a payload (https://github.com/OHF-Voice/wyoming). Sound of any
rate, width and number of channels is taken; channels become their mean, where the protocol's own converter adds them.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ayllu.device.parts import Parts
from ayllu.device.privacy.ledger import Ledger
from ayllu.device.speech import DeviceSpeech
from ayllu.lab.error import UserError
from ayllu.lab.version import AYLLU_VERSION
from ayllu.serve.audio.sound_files import LONGEST, RATES, pcm
from ayllu.serve.audio.speech import Samples, Sound
from ayllu.serve.errors import ApiError

log = logging.getLogger("uvicorn.error")

MOST_DATA, MOST_PAYLOAD = 64 << 10, 1 << 20
MOST_TEXT = 4096
WIDTHS = {1: ("<i1", 2**7), 2: ("<i2", 2**15), 4: ("<i4", 2**31)}


class Wrong(Exception):
    """What a client sent is not understood; the connection goes on."""


@dataclass
class Event:
    """One event."""

    type: str
    data: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """The next event; None at the end. Raises ValueError where the stream holds something else."""
    line = await reader.readline()
    if not line:
        return None
    header = json.loads(line)
    if not isinstance(header, dict) or not isinstance(header.get("type"), str):
        raise ValueError("an event is an object with a type")
    sizes = [header.get(name) or 0 for name in ("data_length", "payload_length")]
    if not all(
        isinstance(size, int) and 0 <= size <= most for size, most in zip(sizes, (MOST_DATA, MOST_PAYLOAD), strict=True)
    ):
        raise ValueError("an event is too large")
    data = header.get("data") or {}
    if sizes[0]:
        data = {**data, **json.loads(await reader.readexactly(sizes[0]))}
    return Event(header["type"], data, await reader.readexactly(sizes[1]) if sizes[1] else b"")


def write_event(writer: asyncio.StreamWriter, event: Event) -> None:
    """Send an event."""
    data = json.dumps(event.data, ensure_ascii=False).encode() if event.data else b""
    header: dict[str, Any] = {"type": event.type}
    for name, part in (("data_length", data), ("payload_length", event.payload)):
        if part:
            header[name] = len(part)
    writer.write(json.dumps(header).encode() + b"\n" + data + event.payload)


class Wyoming:
    """The server; one object serves all connections."""

    def __init__(self, parts: Parts, ledger: Ledger | None = None) -> None:
        self._speech = DeviceSpeech(parts, ledger=ledger, by="Wyoming")

    async def start(self, port: int) -> asyncio.Server:
        """Listen on this machine; 0 takes a free port. Raises UserError where the port cannot be had."""
        try:
            return await asyncio.start_server(self._serve, "127.0.0.1", port, limit=MOST_DATA)
        except (OSError, OverflowError) as error:
            raise UserError(f"--wyoming {port} cannot be listened on ({error}); give another port") from error

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(self._speech, writer)
        try:
            while (event := await read_event(reader)) is not None:
                try:
                    await client.take(event)
                except Wrong as wrong:
                    write_event(writer, Event("error", {"text": str(wrong), "code": "invalid"}))
                except ApiError as error:
                    write_event(writer, Event("error", {"text": error.body["error"]["message"], "code": "failed"}))
                await writer.drain()
        except (ValueError, RecursionError, asyncio.IncompleteReadError):
            write_event(writer, Event("error", {"text": "this is no Wyoming event", "code": "invalid"}))
        except ConnectionError:
            pass
        except Exception:
            log.exception("a Wyoming client could not be answered")
        finally:
            writer.close()


class _Client:
    def __init__(self, speech: DeviceSpeech, writer: asyncio.StreamWriter) -> None:
        self._speech, self._writer = speech, writer
        self._sound: list[Samples] = []
        self._rate = 0
        self._text: list[str] | None = None

    async def take(self, event: Event) -> None:
        """Answer one event; events of other domains are passed over, as the protocol asks."""
        match event.type:
            case "describe":
                self._send("info", _info(self._speech))
            case "ping":
                self._send("pong", event.data)
            case "transcribe":
                _check_language(event.data.get("language"))
                self._sound = []
            case "audio-start":
                self._sound, self._rate = [], 0
            case "audio-chunk":
                self._append(event)
            case "audio-stop":
                await self._transcribe()
            case "synthesize":
                if self._text is None:  # a client that streams sends the whole text as well, for older servers
                    await self._say(_text_of(event))
            case "synthesize-start":
                self._text = []
            case "synthesize-chunk":
                if self._text is not None:
                    self._text.append(_text_of(event))
            case "synthesize-stop":
                text, self._text = "".join(self._text or ()), None
                await self._say(text)
                self._send("synthesize-stopped")

    def _send(self, kind: str, data: dict[str, Any] | None = None, payload: bytes = b"") -> None:
        write_event(self._writer, Event(kind, data or {}, payload))

    def _append(self, event: Event) -> None:
        form: list[Any] = [event.data.get(name) for name in ("rate", "width", "channels")]
        rate, width, channels = form
        if rate not in RATES or width not in WIDTHS or not isinstance(channels, int) or not 1 <= channels <= 8:
            raise Wrong(f"sound of {channels} channels, {width} bytes and {rate} Hz is not understood")
        if self._rate not in (0, rate):
            raise Wrong("the rate changes within one sound")
        self._rate = rate
        kind, scale = WIDTHS[width]
        frame = width * channels
        values = np.frombuffer(event.payload[: len(event.payload) // frame * frame], kind).reshape(-1, channels)
        self._sound.append(np.asarray(values.mean(axis=1) / scale, np.float32))
        if sum(map(len, self._sound)) > LONGEST * rate:
            self._sound = []
            raise Wrong(f"the sound is longer than {LONGEST} seconds")

    async def _transcribe(self) -> None:
        samples = np.concatenate([np.zeros(0, np.float32), *self._sound])
        self._sound = []
        words = []
        if len(samples):
            async for segment in self._speech.transcribe(Sound(samples=samples, rate=self._rate)):
                words.append(segment.text)
        self._send("transcript", {"text": " ".join(words), "language": "en"})

    async def _say(self, text: str) -> None:
        if len(text) > MOST_TEXT:
            raise Wrong(f"a text has at most {MOST_TEXT} characters")
        form = {"rate": self._speech.rate, "width": 2, "channels": 1}
        self._send("audio-start", form)
        async for piece in self._speech.say(text, speed=1.0):
            self._send("audio-chunk", form, pcm(piece))
            await self._writer.drain()
        self._send("audio-stop")


def _text_of(event: Event) -> str:
    voice = event.data.get("voice")
    if isinstance(voice, dict):
        _check_language(voice.get("language"))
    text = event.data.get("text")
    if not isinstance(text, str):
        raise Wrong("the event has no text")
    if event.data.get("text_format") not in (None, "text"):
        raise Wrong("only plain text is spoken")
    return text


def _check_language(language: Any) -> None:
    if language is not None and str(language).replace("_", "-").partition("-")[0] != "en":
        raise Wrong(f"only English is understood and spoken here, not {str(language)[:20]!r}")


def _info(speech: DeviceSpeech) -> dict[str, Any]:
    def program(name: str, kind: str, model: str) -> list[dict[str, Any]]:
        whose = {"name": "Ayllu", "url": ""}
        common = {"attribution": whose, "installed": True, "version": AYLLU_VERSION, "description": model}
        return [{**common, "name": name, kind: [{**common, "name": model, "languages": ["en"]}]}]

    return {"asr": program("ayllu", "models", speech.hearing), "tts": program("ayllu", "voices", speech.voice)}
