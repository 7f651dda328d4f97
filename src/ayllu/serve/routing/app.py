"""The application that every server of ours is: Starlette's, whose endpoints get what their signatures name.

Schemas of bodies are built when the first request needs them, and the document that describes all of them when it is
asked for: a server that has just been started owes its first answer, not those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from ayllu.serve import errors
from ayllu.serve.routing.late import LateRoutes
from ayllu.serve.routing.route import ApiRoute, Endpoint, Refusal


class App(Starlette):
    """An application whose problems come out in OpenAI's form, and which describes itself at `/openapi.json`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._told: dict[str, Any] | None = None
        self._telling = asyncio.Lock()
        errors.install(self)
        self.add_endpoint("/openapi.json", self._document, described=False)

    def add_endpoint(
        self,
        path: str,
        endpoint: Endpoint,
        *,
        methods: Sequence[str] = ("GET", "HEAD"),
        described: bool = True,
        refusal: Refusal | None = None,
    ) -> None:
        """Answer `methods` at `path`, which has its parameters in braces; see `reads_of` for what `endpoint` gets.

        It gives a response, or what is one in JSON. `described` says whether the document tells of it, and `refusal`
        words an ApiError where that is not OpenAI's form.
        """
        self.router.routes.append(ApiRoute(path, endpoint, methods, described=described, refusal=refusal))

    def add_socket(self, path: str, endpoint: Callable[[WebSocket], Awaitable[None]]) -> None:
        """Answer WebSockets at `path`."""
        self.router.routes.append(WebSocketRoute(path, endpoint))

    def add_late(self, paths: Sequence[str], add: Callable[[App], None]) -> None:
        """Answer at and below `paths` by the routes that `add` gives when the first of them is asked for."""
        self.router.routes.append(LateRoutes(self.router, paths, lambda: add(self)))

    def complete(self) -> None:
        """Add what is late, now."""
        for route in [route for route in self.router.routes if isinstance(route, LateRoutes)]:
            route.load()

    def document(self) -> dict[str, Any]:
        """What this server answers, as OpenAPI 3.1."""
        self.complete()
        from ayllu.serve.routing.document import describe  # which needs FastAPI, as nothing else does

        return describe([route for route in self.routes if isinstance(route, ApiRoute) and route.include_in_schema])

    async def _document(self) -> Response:
        async with self._telling:  # who asks meanwhile waits for the same one
            if self._told is None:
                self.complete()  # here, for another thread would do it beside requests
                self._told = await asyncio.to_thread(self.document)  # a second, in which others are answered
        return JSONResponse(self._told)
