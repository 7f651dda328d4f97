"""What belongs to one request from its first byte to its last: its id, and an answer whatever goes wrong."""

from __future__ import annotations

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ayllu.serve.access.access import is_below
from ayllu.serve.access.request import CURRENT, RequestContext, route_path
from ayllu.serve.errors import FAILED, ApiError
from ayllu.serve.operations.operations import Operations

SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""An id of a client's that may stand in headers and logs."""
HEADER = "x-request-id"
GONE = 499
"""nginx's status for a client that left before its answer began."""

log = logging.getLogger("uvicorn.error")


class RequestMiddleware:
    """Gives each request its context and its id, which the answer carries; a client's own is taken if it is sane."""

    def __init__(self, app: ASGIApp, *, operations: Operations) -> None:
        self._app, self._operations = app, operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(HEADER, "")
        name = given if SANE.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        context = RequestContext(id=name, method=scope.get("method", "WEBSOCKET"), path=route_path(scope))
        self._operations.opened(context, headers)
        token = CURRENT.set(context)
        try:
            await self._answer(context, scope, receive, send)
        finally:
            CURRENT.reset(token)
            context.seconds, context.ended = time.monotonic() - context.arrived, True
            context.route = _route(scope)
            context.status = context.status or GONE
            for work in context.at_end:
                work()
            self._operations.closed(context)

    async def _answer(self, context: RequestContext, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_id(message: Message) -> None:
            if message["type"].endswith(("response.start", "websocket.accept")):
                context.status = message.get("status", 101)
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                headers[HEADER] = context.id
                headers.update(context.headers)
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            if context.status:
                raise
            log.exception("request %s failed", context.id)
            await ApiError(500, f"{FAILED} (request {context.id})").send(scope, receive, send_with_id)


def _route(scope: Scope) -> str:
    """The route with its parameters as names: what a client makes up is no label of a metric."""
    if "route" in scope:
        return str(getattr(scope["route"], "path", "other"))
    return "/static" if is_below(route_path(scope), ("/static",)) else "other"
