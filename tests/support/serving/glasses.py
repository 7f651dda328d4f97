"""The glasses' real server on a free port, speech to play to it, and a client."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import numpy as np
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.asyncio.client import connect

from ayllu.device.app import MESSAGE_BYTES, create_glasses_app
from ayllu.device.audio.pcm import resample, to_pcm16
from ayllu.device.bench.turns import make_turn
from ayllu.device.parts import Parts
from ayllu.serve.network.listen import listen, url
from ayllu.serve.served import Models
from ayllu.serve.stoppable import StoppableServer, server_config

WIRE = 24_000
EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


@contextmanager
def wearing(parts: Parts, models: Models | None = None, **options: Any) -> Iterator[str]:
    """A server; gives its address."""
    listener = listen("127.0.0.1", 0)
    app = create_glasses_app(parts, models or Models(), **options)
    config = server_config(app, drain_seconds=0.5)
    config.ws_max_size = MESSAGE_BYTES
    ready = threading.Event()
    server = StoppableServer(config, ready=ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield url("127.0.0.1", listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def speech(parts: Parts, text: str, *, before: float = 0.3, after: float = 0.0) -> np.ndarray:
    """A sentence at the rate of the wire, with silence around it."""
    audio = resample(make_turn(text, parts.voice).audio, 16_000, WIRE)
    return np.concatenate([np.zeros(int(before * WIRE), np.float32), audio, np.zeros(int(after * WIRE), np.float32)])


class Client:
    """A client without an SDK; every standard event must be one that OpenAI's SDK knows."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.events: list[dict[str, Any]] = []

    async def send(self, kind: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"type": kind, **fields}))

    async def play(self, audio: np.ndarray, size: int = 2_400) -> None:
        for at in range(0, len(audio), size):
            piece = base64.b64encode(to_pcm16(audio[at : at + size])).decode()
            await self.send("input_audio_buffer.append", audio=piece)

    async def until(self, kind: str, check: Callable[[dict[str, Any]], bool] = lambda event: True) -> dict[str, Any]:
        while True:
            event = json.loads(await self._socket.recv())
            if not event["type"].startswith("x."):
                EVENT.validate_python(event, strict=False)
            self.events.append(event)
            if event["type"] == kind and check(event):
                return event

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]


@asynccontextmanager
async def session(address: str, **update: Any) -> AsyncIterator[Client]:
    async with connect(address.replace("http", "ws") + "/v1/realtime?model=m", max_size=None) as socket:
        client = Client(socket)
        await client.until("session.created")
        if update:
            await client.send("session.update", session={"type": "realtime", **update})
            await client.until("session.updated")
        yield client


def run(work: Coroutine[Any, Any, Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(100):
            return await work

    return asyncio.run(bounded())
