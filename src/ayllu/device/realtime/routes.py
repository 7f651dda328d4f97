"""`/v1/realtime` over a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from websockets.frames import CloseCode

from ayllu.device.adapters.xiaozhi import Xiaozhi
from ayllu.device.parts import Parts
from ayllu.device.privacy.consent import Mode
from ayllu.device.privacy.ledger import Ledger
from ayllu.device.privacy.wearer import Wearer
from ayllu.device.realtime.session import Session
from ayllu.device.think.assisted import Assistant
from ayllu.device.think.mind import Mind
from ayllu.device.webrtc.routes import Calls
from ayllu.serve.routing.app import App

PATH = "/v1/realtime"
PROTOCOL = "realtime"
KEY = "openai-insecure-api-key."
"""Browsers cannot set headers on a WebSocket: OpenAI's clients send the key as the name of a subprotocol."""
MOST_SESSIONS = 16
MOST_UNREAD = 4096
"""Events that wait for a client."""
UNREAD_SECONDS = 30
"""A client that reads nothing for so long is let go."""


class Realtime:
    """The route."""

    def __init__(
        self,
        parts: Parts,
        mind: Mind,
        *,
        ledger: Ledger | None = None,
        consent: Mode = "light",
        assistant: Assistant | None = None,
        wake: str | None = None,
        wearer: Wearer | None = None,
        cancel_echo: bool = False,
    ) -> None:
        self._parts, self._mind, self._ledger, self._consent = parts, mind, ledger, consent
        self._assistant, self._wake, self._wearer = assistant, wake, wearer
        self._cancel_echo = cancel_echo
        self._sessions = 0

    def add_to(self, app: App) -> None:
        """Give `app` the route."""
        app.add_socket(PATH, self.connect)
        Calls(self._session, MOST_SESSIONS).add_to(app)
        Xiaozhi(self._session, MOST_SESSIONS).add_to(app)

    def _session(self, out: asyncio.Queue[str]) -> Session:
        return Session(
            self._parts,
            self._mind,
            out,
            ledger=self._ledger,
            consent=self._consent,
            assistant=self._assistant,
            wake=self._wake,
            wearer=self._wearer,
            cancel_echo=self._cancel_echo,
        )

    async def connect(self, socket: WebSocket) -> None:
        """One session, until the client leaves."""
        await socket.accept(PROTOCOL if PROTOCOL in socket.scope.get("subprotocols", ()) else None)
        if self._sessions >= MOST_SESSIONS:
            await socket.close(CloseCode.TRY_AGAIN_LATER, f"{MOST_SESSIONS} sessions are open; try again later")
            return
        self._sessions += 1
        out: asyncio.Queue[str] = asyncio.Queue(MOST_UNREAD)
        session = self._session(out)
        try:
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(_write(socket, out))
                await session.begin()
                await _read(socket, session)
                writing.cancel()
        except* (WebSocketDisconnect, TimeoutError):
            pass
        finally:
            self._sessions -= 1
            await session.close()
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                if socket.client_state is not WebSocketState.DISCONNECTED:
                    await socket.close(CloseCode.POLICY_VIOLATION, "nothing was read for too long")


async def _read(socket: WebSocket, session: Session) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        await session.take(message.get("text") or (message.get("bytes") or b"").decode(errors="replace"))


async def _write(socket: WebSocket, out: asyncio.Queue[str]) -> None:
    while True:
        text = await out.get()
        async with asyncio.timeout(UNREAD_SECONDS):
            await socket.send_text(text)


class BrowserKeyMiddleware:
    """Gives a WebSocket of a browser the `Authorization` that its subprotocol names."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            headers = MutableHeaders(scope=scope)
            keys = [name.removeprefix(KEY) for name in scope.get("subprotocols", ()) if name.startswith(KEY)]
            if keys and "authorization" not in headers:
                headers["authorization"] = f"Bearer {keys[0]}"
        await self._app(scope, receive, send)
