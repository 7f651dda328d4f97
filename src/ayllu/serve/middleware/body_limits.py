"""How much may be asked: bodies that are too large, or that never end, are refused before a route sees them."""

from __future__ import annotations

import asyncio
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ayllu.serve.access.request import route_path
from ayllu.serve.errors import ApiError

UPLOADS = frozenset({"/v1/files", "/v1/audio/transcriptions", "/v1/audio/translations"})
"""Where forms with files arrive."""
OF_CONTAINERS = re.compile(r"/v1/containers/[^/]+/files")
"""They do here too."""


class BodyLimitMiddleware:
    """Reads each body whole, at most `most_bytes` of it within `seconds`, and hands it on in one message.

    Forms with files (`UPLOADS`) are handed on as they arrive, up to limits of their own.
    """

    def __init__(
        self, app: ASGIApp, *, most_bytes: int, seconds: float, upload_bytes: int, upload_seconds: float
    ) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._upload_bytes = upload_bytes
        self._upload_seconds = upload_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = route_path(scope)
        upload = scope["method"] == "POST" and (path in UPLOADS or OF_CONTAINERS.fullmatch(path) is not None)
        try:
            # What the client announces is refused before it is read.
            length = Headers(scope=scope).get("content-length", "0")
            if length.isdecimal() and int(length) > (self._upload_bytes if upload else self._most_bytes):
                raise self._too_large(upload)
            if upload:
                await self._app(scope, self._bounded(receive), send)
                return
            body = await self._read(receive)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _replayed(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body; None when the client hung up before its end."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                while (message := await receive())["type"] == "http.request":
                    body += message.get("body", b"")
                    if len(body) > self._most_bytes:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise ApiError(408, f"the body did not arrive within {self._seconds:g} seconds") from None
        return None

    def _bounded(self, receive: Receive) -> Receive:
        """A `receive` that raises ApiError where an upload is too large or takes too long."""
        read, whole, end = 0, False, asyncio.get_running_loop().time() + self._upload_seconds

        async def bounded() -> Message:
            nonlocal read, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                raise ApiError(408, f"the body did not arrive within {self._upload_seconds:g} seconds") from None
            read += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if read > self._upload_bytes:
                raise self._too_large(True)
            return message

        return bounded

    def _too_large(self, upload: bool = False) -> ApiError:
        most, advice = (
            (self._upload_bytes, "send a smaller file") if upload else (self._most_bytes, "send a shorter conversation")
        )
        return ApiError(413, f"the body is larger than {most:,} bytes; {advice}", code="body_too_large")


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
