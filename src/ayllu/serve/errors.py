"""Problems as OpenAI's API words them: a status and `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

TYPES = {400: "invalid_request_error", 403: "permission_error", 429: "requests", 503: "overloaded_error"}
RETRY_SECONDS = 5
"""Until one that was told that the server is busy may try again, where nothing better is known."""

BUSY = "the engine was busy for too long; try again soon"
FAILED = "the server failed; its log says where"
NO_OBJECT = "the body must be a JSON object with the header Content-Type: application/json"


class ApiError(Exception):
    """A request that gets an error for an answer; `message` is one clear sentence.

    `kind` is OpenAI's `type` where it does not follow from the status.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.kind, self.headers = kind, dict(headers or {})

    @property
    def body(self) -> dict[str, dict[str, str | None]]:
        """The error as JSON."""
        usual = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        kind = self.kind or usual
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The error as an answer to send."""
        headers = {"Retry-After": str(RETRY_SECONDS)} if self.status == 503 else {}
        return JSONResponse(self.body, self.status, headers | self.headers)

    async def send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the error where no framework does: to a request, or to one for a WebSocket."""
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(self.response())
        else:
            await self.response()(scope, receive, send)


HOSTED = ("code_interpreter", "file_search")
"""Types of tools that the server runs."""


def of_validation(error: ValidationError, *where: str, body: Any = None) -> ApiError:
    """The first thing that is wrong with a body, or with what stands at `where`, in a sentence that names the field."""
    first = error.errors(include_url=False)[0]
    kind, place = first["type"], [*where, *map(str, first["loc"])]
    if place[:1] == ["tools"] and kind.startswith("union_tag"):
        place.append("type")
    elif place[:1] == ["tools"] and len(place) > 3 and place[2] in ("function", *HOSTED):
        sent = body.get("tools") if isinstance(body, dict) else None
        if isinstance(sent, list) and "function" not in sent[int(place[1])]:
            del place[2]  # the type by which the form was chosen is no field
    if kind == "string_unicode":
        return ApiError(400, "the body has text that is not Unicode: half a surrogate pair", code="invalid_value")
    if not place and kind == "value_error":
        return ApiError(400, first["msg"].removeprefix("Value error, "), code="invalid_value")
    if not place:
        return ApiError(400, NO_OBJECT)
    param = ".".join(place)[:200]
    if kind == "missing":
        return ApiError(400, f"{param} is missing", param=param, code="missing_required_parameter")
    if kind == "extra_forbidden":
        return ApiError(
            400, f"{param} is not a parameter that this server knows", param=param, code="unknown_parameter"
        )
    # Pydantic names our class there, which no client knows.
    message = "it must be an object" if kind == "model_type" else first["msg"].removeprefix("Value error, ")
    return ApiError(400, f"{param}: {message[:1].lower()}{message[1:]}", param=param, code="invalid_value")


def install(app: Starlette) -> None:
    """Make every problem that `app` meets come out in OpenAI's form."""

    async def api(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)
        return error.response()

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        where = f"{request.method} {request.url.path}"
        words = {404: f"there is nothing at {where}", 405: f"{where} is not possible; use another method"}
        headers = {"Allow": ", ".join(_methods(request))} if error.status_code == 405 else {}
        return ApiError(error.status_code, words.get(error.status_code, str(error.detail)), headers=headers).response()

    async def anything(_: Request, __: Exception) -> JSONResponse:
        return ApiError(500, FAILED).response()

    app.add_exception_handler(ApiError, api)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, anything)


def _methods(request: Request) -> list[str]:
    """The methods that the address of a request is answered for, by whatever route."""
    found: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found)
