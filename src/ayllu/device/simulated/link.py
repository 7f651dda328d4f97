"""The simulated device's connection: opened again whenever it breaks, and what was acknowledged is told again."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from ayllu.lab.error import UserError

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT, GIVE_UP = 0.2, 3.0, 120.0
"""Seconds between two attempts, and altogether."""
OPENING = 10.0


@dataclass
class Remembered:
    """An item that the server had acknowledged."""

    role: str
    text: str


@dataclass
class Link:
    """One device's connection. `on` takes each event; `settings` is told at each opening."""

    url: str
    settings: dict[str, Any]
    on: Callable[[dict[str, Any]], Awaitable[None]]
    key: str | None = None
    items: dict[str, Remembered] = field(default_factory=dict)
    """Acknowledged, in order."""
    opened: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the server is there and knows all that it knew."""
    _socket: ClientConnection | None = None
    _waiting: dict[str, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)

    async def run(self) -> None:
        """Stay connected until cancelled. Raises UserError where nobody answers for too long."""
        loop = asyncio.get_running_loop()
        wait, since = FIRST_WAIT, loop.time()
        while True:
            try:
                headers = {"Authorization": f"Bearer {self.key}"} if self.key else None
                async with connect(
                    self.url, max_size=None, open_timeout=OPENING, additional_headers=headers, ping_timeout=60
                ) as self._socket:
                    restoring = asyncio.create_task(self._restore())
                    try:
                        wait = FIRST_WAIT
                        async for text in self._socket:
                            await self._take(json.loads(text))
                    finally:
                        restoring.cancel()
                        await asyncio.gather(restoring, return_exceptions=True)
            except (OSError, WebSocketException, TimeoutError) as error:
                status = getattr(getattr(error, "response", None), "status_code", None)
                if isinstance(error, InvalidHandshake) and status in (401, 403, 404):
                    told = f"{self.url} answers {status}: is it the glasses' server, and is the key right?"
                    raise UserError(told) from None
                if not self.opened and isinstance(error, OSError) and not isinstance(error, TimeoutError):
                    told = f"nothing answers at {self.url} ({error.strerror or error}); start it: ayllu glasses"
                    raise UserError(told) from None
                log.info("the connection broke: %s", error)
            finally:
                if self._socket is not None:
                    since = loop.time()  # it was there until now
                self.open.clear()
                self._socket = None
                for future in self._waiting.values():
                    future.cancel()
                self._waiting.clear()
            if loop.time() - since > GIVE_UP:
                raise UserError(f"{self.url} has not answered for {GIVE_UP:.0f} seconds")
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT, 2 * wait)

    def drop(self) -> None:
        """The network goes away, without a word to the other side."""
        self.open.clear()
        if self._socket is not None:
            self._socket.transport.abort()

    async def send(self, kind: str, **fields: Any) -> bool:
        """Send an event; whether there was a connection to send it by."""
        if self._socket is None:
            return False
        try:
            await self._socket.send(json.dumps({"type": kind, **fields}))
        except (OSError, WebSocketException):
            return False
        return True

    async def ask(self, item_id: str) -> dict[str, Any] | None:
        """An item as the server has it; None where it has none."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[item_id] = future
        await self.send("conversation.item.retrieve", item_id=item_id, event_id=item_id)
        try:
            found = await asyncio.wait_for(future, OPENING)
        except TimeoutError:
            return None
        except asyncio.CancelledError:
            if not future.cancelled():
                raise
            return None  # the connection broke
        return found.get("item")

    async def _restore(self) -> None:
        """Tell the settings, and what was acknowledged before, by the same names."""
        await self.send("session.update", session=self.settings)
        for name, item in self.items.items():
            kind = "output_text" if item.role == "assistant" else "input_text"
            content = [{"type": kind, "text": item.text}]
            said = {"id": name, "type": "message", "role": item.role, "content": content}
            await self.send("conversation.item.create", item=said)
        if self.items and await self.ask(next(reversed(self.items))) is None:
            self.drop()
            return
        self.opened += 1
        self.open.set()

    async def _take(self, event: dict[str, Any]) -> None:
        name = None
        if event["type"] == "conversation.item.retrieved":
            name = event["item"]["id"]
        elif event["type"] == "error":
            name = event["error"].get("event_id")
        if (future := self._waiting.pop(str(name), None)) is not None and not future.done():
            future.set_result(event)
            return
        await self.on(event)
