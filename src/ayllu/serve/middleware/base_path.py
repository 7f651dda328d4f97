"""A server behind a path of a proxy: `/ayllu/v1/models` is what is `/v1/models` elsewhere."""

from __future__ import annotations

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class BasePathMiddleware:
    """Takes requests below `base`, and those from which the proxy has taken it off already."""

    def __init__(self, app: ASGIApp, *, base: str) -> None:
        self._app, self._base = app, base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            path = scope["path"]
            if path == self._base and scope["type"] == "http":
                # The page's addresses are relative to its own, which needs the slash.
                await RedirectResponse(f"{self._base}/", 308)(scope, receive, send)
                return
            if path.startswith(f"{self._base}/"):
                scope = {**scope, "root_path": self._base}
        await self._app(scope, receive, send)
