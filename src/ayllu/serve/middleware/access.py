"""Keys at the door: a request without the key that it needs, or beyond what its key may use, ends here."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ayllu.serve.access.access import Access
from ayllu.serve.access.request import CURRENT
from ayllu.serve.errors import ApiError


class AccessMiddleware:
    """Finds whose request it is before its body is read, and ends it when the key is revoked in the meantime."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = CURRENT.get()
        if scope["type"] not in ("http", "websocket") or context is None:
            await self._app(scope, receive, send)
            return
        access = self._access
        try:
            key = access.find(context.path, Headers(scope=scope))
            if key is not None and context.method not in ("GET", "HEAD", "DELETE"):
                context.headers.update(access.admit(key))
        except ApiError as error:
            await error.send(scope, receive, send)
            return
        if key is None:
            await self._app(scope, receive, send)
            return
        context.key, context.spend = key, access.spender(key)
        # Whose responses and files these are: a new key of the same name goes on with them.
        scope.setdefault("state", {})["owner"] = key.name
        with access.watching(key):
            await self._app(scope, receive, send)
