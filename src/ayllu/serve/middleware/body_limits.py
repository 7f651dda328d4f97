"""What stands before the gateway's routes: who may ask, how much, and what browsers may do with answers."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ayllu.serve.errors import ApiError

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer: a page may load and call this server only, and no other page may read, frame or embed it."""


class Guard:
    """Refuses foreign pages and oversized or endless bodies before a route sees them.

    * The `Host` must be an IP address, `localhost` or one of `hosts`: a foreign name that resolves to this machine
      (DNS rebinding) is refused.
    * An `Origin`, which browsers send with every POST, must be this server's own: no other page can use the model.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] = (), body_bytes: int, body_seconds: float) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._body_bytes = body_bytes
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        try:
            self._check(Headers(scope=scope), scope.get("scheme", "http"))
            body = await self._read(receive)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _replayed(body, receive), send)

    def _check(self, headers: Headers, scheme: str) -> None:
        host = headers.get("host", "")
        if not self._known(host):
            raise ApiError(403, f"the Host {host[:100]!r} is not this server's", code="host_not_allowed")
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"{scheme}://{host.lower()}":
            raise ApiError(403, f"pages of {origin[:100]} may not use this server", code="origin_not_allowed")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._body_bytes:
            raise _too_large(self._body_bytes)

    def _known(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if name is None:
            return False
        if name == "localhost" or name.endswith(".localhost") or name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body; None when the client hung up before its end."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                while (message := await receive())["type"] == "http.request":
                    body += message.get("body", b"")
                    if len(body) > self._body_bytes:
                        raise _too_large(self._body_bytes)
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise ApiError(408, f"the body did not arrive within {self._body_seconds:g} seconds") from None
        return None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body`, and after it what `receive` gives: that the client has hung up."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _with_headers(send: Send) -> Send:
    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return add


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"the body is larger than {most:,} bytes; send a shorter conversation", code="body_too_large")
