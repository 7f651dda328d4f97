"""Who may ask: no page of another server can use the model through a visitor's browser."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ayllu.serve.errors import ApiError

PAGES = {"ws": "http", "wss": "https"}
"""How a page was loaded that opens a WebSocket."""


class HostCheckMiddleware:
    """Refuses a foreign `Host` or `Origin` before a route sees the request.

    * The `Host` must be an IP address, `localhost` or one of `hosts`: a foreign name that resolves to this machine
      (DNS rebinding) is refused.
    * An `Origin`, which browsers send with every POST, must be this server's own: no other page can use the model.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            try:
                scheme = str(scope.get("scheme", "http"))
                self._check(Headers(scope=scope), PAGES.get(scheme, scheme))
            except ApiError as error:
                await error.send(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, headers: Headers, scheme: str) -> None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise ApiError(403, f"the Host {host[:100]!r} is not this server's", code="host_not_allowed")
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"{scheme}://{host.lower()}":
            raise ApiError(403, f"pages of {origin[:100]} may not use this server", code="origin_not_allowed")

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if name is None:
            return False
        name = name.rstrip(".")
        if name == "localhost" or name.endswith(".localhost") or name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
