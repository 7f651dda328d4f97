"""Routes whose code is imported when the first request for one of them comes: a start owes its first token sooner."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import Receive, Scope, Send

from ayllu.serve.access.access import is_below
from ayllu.serve.access.request import route_path


class LateRoutes(BaseRoute):
    """Stands in `router` for all routes at and below `paths` until `add` has put them there."""

    def __init__(self, router: Router, paths: Sequence[str], add: Callable[[], None]) -> None:
        self._router, self._paths, self._add = router, tuple(paths), add

    def load(self) -> None:
        """Put the routes into the place of this one. The event loop waits: some milliseconds, once."""
        routes = self._router.routes
        known = len(routes)
        self._add()  # where it fails this one stays, and the next request is told again
        # One that stood elsewhere would not be found until another was asked for.
        assert all(isinstance(new, Route) and is_below(new.path, self._paths) for new in routes[known:])
        routes.remove(self)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        ours = scope["type"] == "http" and is_below(route_path(scope), self._paths)
        return (Match.FULL if ours else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.load()
        await self._router(scope, receive, send)
