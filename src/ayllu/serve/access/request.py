"""The request that is being answered: set by the middleware, seen by whatever works for it, other tasks included."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

from ayllu.serve.access.keys import Key

METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE", "WEBSOCKET"}
)
"""HTTP's own, and our word for what has none."""


@dataclass(kw_only=True, slots=True, eq=False)
class RequestContext:
    """One HTTP request, or one WebSocket."""

    id: str
    """What the client, the log and the traces call it."""
    method: str = ""
    """As the client wrote it, which may be any word."""
    path: str = ""
    key: Key | None = None
    """Whose it is; None where keys are not asked for."""
    spend: Callable[[int], None] = lambda tokens: None
    """Counts tokens for the key, as they are read or written."""
    headers: dict[str, str] = field(default_factory=dict)
    """What is added to the answer's headers."""
    route: str = ""
    """The route that answers, with its parameters as names."""
    status: int = 0
    """Of the answer; 499 where the client left before there was one."""
    arrived: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    """From its head to the end of its answer."""
    ended: bool = False
    span: Any = None
    """Its span where it is traced."""
    at_end: list[Callable[[], None]] = field(default_factory=list)
    """What is done when it has ended."""

    @property
    def known_method(self) -> str:
        """The method, or OpenTelemetry's word for others: what a client makes up is no label of a metric."""
        return self.method if self.method in METHODS else "_OTHER"

    def line(self, client: str) -> str:
        """Whose turn it is in a queue: that of the key, however many clients it has, or of `client`."""
        return client if self.key is None else f"key {self.key.id}"


CURRENT: ContextVar[RequestContext | None] = ContextVar("request", default=None)


def current_line(client: str) -> str:
    """Whose turn it is: the key's where there is one, else that of `client`."""
    context = CURRENT.get()
    return client if context is None else context.line(client)


def spend_tokens(count: int) -> None:
    """Count tokens for the key of the request that is being answered."""
    if count and (context := CURRENT.get()) is not None:
        context.spend(count)


def route_path(scope: Scope) -> str:
    """The path below the one that the server is reached at."""
    path, base = str(scope["path"]), str(scope.get("root_path", ""))
    below = bool(base) and (path == base or path.startswith(f"{base}/"))
    return (path.removeprefix(base) or "/") if below else path
