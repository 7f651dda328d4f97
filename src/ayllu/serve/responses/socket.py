"""`/v1/responses` over a WebSocket: many responses over one connection, in lanes that do not wait for each other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from websockets.frames import CloseCode

from ayllu.serve.errors import FAILED, ApiError, of_validation
from ayllu.serve.middleware.strict_json import strict_json
from ayllu.serve.responses.body import ResponseBody
from ayllu.serve.responses.responder import Responder
from ayllu.serve.responses.routes import client_of, owner_of
from ayllu.serve.routing.app import App
from ayllu.serve.state.items import Item

log = logging.getLogger("uvicorn.error")

MOST_SOCKETS = 256
"""Connections at a time: they may be idle for as long as their clients like, and each takes a file of the process."""
MOST_LANES = 16
MOST_WAITING = 16
"""Requests that may wait in one lane."""
MOST_REMEMBERED = 16
"""Responses that a connection remembers, for those that go on from one that is not stored."""


class Socket:
    """The route."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._open = 0

    def add_to(self, app: App) -> None:
        """Give `app` the route."""
        app.add_socket("/v1/responses", self.connect)

    async def connect(self, socket: WebSocket) -> None:
        """Answer what comes over one connection until it ends; what is under way then is stopped."""
        await socket.accept()
        if self._open >= MOST_SOCKETS:
            why = f"{MOST_SOCKETS} connections are open; try again later, or use one of them"
            await socket.close(CloseCode.TRY_AGAIN_LATER, why)
            return
        connection = _Connection(socket, self._responder)
        self._open += 1
        try:
            await connection.read()
        except WebSocketDisconnect:
            pass
        finally:
            self._open -= 1
            await connection.end()


@dataclass
class _Lane:
    """Requests that are answered one after the other."""

    waiting: asyncio.Queue[dict[str, Any]] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING))
    task: asyncio.Task[None] | None = None


class _Connection:
    def __init__(self, socket: WebSocket, responder: Responder) -> None:
        self._socket, self._responder = socket, responder
        self._lanes: dict[str | None, _Lane] = {}
        self._remembered: OrderedDict[str, Sequence[Item]] = OrderedDict()
        self._sending = asyncio.Lock()

    async def read(self) -> None:
        """Take requests until the client leaves."""
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is None:
                await self._socket.close(CloseCode.UNSUPPORTED_DATA, "send JSON as text")
                return
            await self._take(message["text"])

    async def end(self) -> None:
        """Stop what is under way."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, text: str) -> None:
        lane: str | None = None
        try:
            event = _parsed(text)
            lane = event.pop("stream_id", None)
            if lane is not None and not (isinstance(lane, str) and 0 < len(lane) <= 64):
                lane = None
                raise ApiError(400, "stream_id must be a text of 1 to 64 characters", param="stream_id")
            self._lane(lane).waiting.put_nowait(event)
        except asyncio.QueueFull:
            await self._fail(ApiError(429, "too many requests wait on this connection; wait for the answers"), lane)
        except ApiError as error:
            await self._fail(error, lane)

    def _lane(self, name: str | None) -> _Lane:
        if name not in self._lanes:
            if len(self._lanes) >= MOST_LANES:
                raise ApiError(429, f"a connection has at most {MOST_LANES} lanes; use one again", param="stream_id")
            lane = self._lanes[name] = _Lane()
            lane.task = asyncio.create_task(self._work(name, lane))
        return self._lanes[name]

    async def _work(self, name: str | None, lane: _Lane) -> None:
        while True:
            event = await lane.waiting.get()
            try:
                await self._answer(event, name)
            except ApiError as error:
                await self._fail(error, name)
            except WebSocketDisconnect:
                return
            except Exception:
                log.exception("an answer failed on its way")
                await self._fail(ApiError(500, FAILED), name)

    async def _answer(self, event: dict[str, Any], lane: str | None) -> None:
        generate = event.pop("generate", None)
        if generate not in (None, True, False):
            raise ApiError(400, "generate must be true or false", param="generate")
        body = _body(event)
        run = await self._responder.begin(
            body,
            client=client_of(self._socket, body),
            owner=owner_of(self._socket),
            known=self._remembered.get(body.previous_response_id or ""),
            generate=generate is not False,
        )
        try:
            async with aclosing(run.events()) as events:
                async for sent in events:
                    await self._send(sent, lane)
        finally:
            run.cancel()
        self._remembered[run.kept.id] = run.history
        while len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)

    async def _fail(self, error: ApiError, lane: str | None) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._send({"type": "error", "status": error.status, **error.body}, lane)

    async def _send(self, event: dict[str, Any], lane: str | None) -> None:
        if lane is not None:
            event = {**event, "stream_id": lane}
        async with self._sending:
            if self._socket.client_state is WebSocketState.DISCONNECTED:
                raise WebSocketDisconnect
            await self._socket.send_text(json.dumps(event, ensure_ascii=False, separators=(",", ":")))


def _parsed(text: str) -> dict[str, Any]:
    """What a client sent; ApiError where it is nothing that is done here."""
    try:
        event = strict_json(text)
    except json.JSONDecodeError as error:
        raise ApiError(400, f"the message is not JSON: {error.msg}", code="invalid_json") from None
    if not isinstance(event, dict):
        raise ApiError(400, "the message must be a JSON object")
    kind = event.pop("type", None)
    if kind != "response.create":
        raise ApiError(
            400, f"events of type {str(kind)[:100]!r} are not understood; send response.create", param="type"
        )
    return event


def _body(event: dict[str, Any]) -> ResponseBody:
    try:
        body = ResponseBody.model_validate(event)
    except ValidationError as error:
        raise of_validation(error) from None
    if body.background:
        raise ApiError(400, "background is not for WebSockets; leave it out", param="background")
    return body
