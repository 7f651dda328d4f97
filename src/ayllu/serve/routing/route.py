"""A path, and the endpoint that answers it."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from ayllu.serve.errors import ApiError
from ayllu.serve.routing.reading import Reads, reads_of

Endpoint = Callable[..., Awaitable[Any]]
Refusal = Callable[[ApiError], Response]


class ApiRoute(Route):
    """Starlette's, for an endpoint that gets what its signature names."""

    def __init__(
        self, path: str, endpoint: Endpoint, methods: Sequence[str], *, described: bool, refusal: Refusal | None
    ) -> None:
        super().__init__(path, self._answer, methods=methods, include_in_schema=described)
        self.methods = set(methods)  # Starlette's would answer HEAD wherever it answers GET
        self.function = endpoint
        self._refusal = refusal

    @functools.cached_property
    def reads(self) -> Reads:
        """What the endpoint reads of a request."""
        return reads_of(self.function, list(self.param_convertors))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self}  # which metrics are counted by

    async def _answer(self, request: Request) -> Response:
        try:
            reply = await self.function(**await self.reads.arguments(request))
        except ApiError as error:
            if self._refusal is None:
                raise
            return self._refusal(error)
        return reply if isinstance(reply, Response) else JSONResponse(reply)
