"""The server of the lab's page: it answers this machine only, reads the home, and changes nothing."""

from __future__ import annotations

import json
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.lab.store import Store
from ayllu.serve.lab import views
from ayllu.serve.lab.pedigree import pedigree
from ayllu.serve.lab.query import answer, read_query
from ayllu.serve.lab.shelf import Shelf, Snapshot
from ayllu.serve.lab.sweeps import sweep
from ayllu.serve.middleware.host_check import HostCheckMiddleware
from ayllu.serve.middleware.security_headers import HEADERS, SecurityHeadersMiddleware
from ayllu.serve.network.listen import listen, url
from ayllu.serve.stoppable import StoppableServer, server_config

PAGE = Path(str(resources.files("ayllu"))) / "serve" / "lab" / "page"
ICON = Path(str(resources.files("ayllu"))) / "page" / "icon.svg"
FRESH = {"Cache-Control": "no-cache"}
HOST = "127.0.0.1"
"""It asks for no key, so that no other machine may reach it."""
PARTS = ("/", "/record/{key}", "/compare", "/lineage/{key}", "/predictions", "/sweeps", "/storage")
"""Addresses of the page: each is this one page, which shows the part that its address names."""
MOST_SPARKS = 200
SMALL = 1024
"""Bytes of an answer that is sent as it is."""

Answer = Callable[[Snapshot, Request], Any]


@dataclass(frozen=True, kw_only=True)
class Looking:
    """How the page is served."""

    home: Path
    port: int = 8070
    """0 takes a free one."""
    open_browser: bool = False


def create_lab_app(shelf: Shelf) -> Starlette:
    """The application, of which every answer is read from `shelf`."""
    data: dict[str, Answer] = {
        "/api/version": lambda seen, asked: {},
        "/api/rows": lambda seen, asked: answer(read_query(_plain(asked)), seen.rows),
        "/api/sparks": lambda seen, asked: _sparks(shelf, seen, _keys(asked)),
        "/api/record/{key}": lambda seen, asked: views.record(shelf, seen, asked.path_params["key"]),
        "/api/lineage/{key}": lambda seen, asked: pedigree(seen.row(asked.path_params["key"]), seen),
        "/api/compare": lambda seen, asked: views.compared(seen, _keys(asked)),
        "/api/curves": lambda seen, asked: views.curves(shelf, seen, _keys(asked)),
        "/api/predictions": lambda seen, asked: views.predictions(shelf, seen),
        "/api/sweeps": lambda seen, asked: _sweep(shelf, seen, _plain(asked)),
        "/api/storage": lambda seen, asked: views.storage(shelf, seen),
    }
    return Starlette(
        routes=[
            *(Route(path, _page) for path in PARTS),
            *(Route(path, _data(shelf, found)) for path, found in data.items()),
            Route("/static/icon.svg", _icon),
            Mount("/static", _Static(directory=PAGE)),
        ],
        middleware=[
            Middleware(SecurityHeadersMiddleware),
            Middleware(HostCheckMiddleware),
            Middleware(GZipMiddleware, minimum_size=SMALL, compresslevel=1),
        ],
        exception_handlers={HTTPException: _http, Exception: _failed},
    )


def serve_lab(how: Looking) -> None:
    """Serve the page until SIGINT or SIGTERM. UserError where the port cannot be had."""
    with listen(HOST, how.port) as listener:
        shelf = Shelf(Store(how.home, writes=False))
        address = url(HOST, listener.getsockname()[1])

        def ready() -> None:
            say(f"the lab shows {how.home} on {address} · it only reads · Ctrl-C stops")
            if how.open_browser:
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

        StoppableServer(server_config(create_lab_app(shelf), drain_seconds=2), ready=ready).run(sockets=[listener])


def _data(shelf: Shelf, found: Answer) -> Callable[[Request], Response]:
    """A route that answers in a thread of its own, for what it reads may take a while."""

    def route(request: Request) -> Response:
        seen = shelf.look()
        try:
            body = {"version": seen.number, **found(seen, request)}
        except UserError as error:
            return _json({"error": views.plain(str(error))}, 400)
        return _json(views.plain(body))

    return route


def _json(body: Any, status: int = 200) -> Response:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(text, status, headers={"Cache-Control": "no-store"}, media_type="application/json")


def _plain(request: Request) -> dict[str, str]:
    """What is asked, each name once. UserError where a name is there twice: one of the two would be dropped."""
    asked = request.query_params.multi_items()
    if len(asked) > len(dict(asked)):
        raise UserError("something is asked for twice; join several values with commas")
    return dict(asked)


def _keys(request: Request) -> list[str]:
    """The keys in `of`. UserError where something else is asked for."""
    asked = _plain(request)
    if asked.keys() != {"of"}:
        raise UserError("give the keys of what is meant as of=KEY,KEY")
    return [key for key in asked["of"].split(",") if key]


def _sparks(shelf: Shelf, seen: Snapshot, keys: list[str]) -> dict[str, Any]:
    """The course of the loss of each row that has one; what has been removed since is left out."""
    if len(keys) > MOST_SPARKS:
        raise UserError(f"{len(keys)} curves are asked for; {MOST_SPARKS} are the most")
    rows = [seen.by_key[key] for key in keys if key in seen.by_key]
    sparks = {str(row.key): shelf.spark(row, seen) for row in rows}
    return {"sparks": {key: [float(f"{value:.5g}") for value in found] for key, found in sparks.items() if found}}


def _sweep(shelf: Shelf, seen: Snapshot, asked: dict[str, str]) -> dict[str, Any]:
    if unknown := asked.keys() - {"id", "stage", "score"}:
        raise UserError(f"a sweep is asked for by id, or by stage and score, not by {min(unknown)[:100]}")
    return sweep(shelf.store, seen, id=asked.get("id"), stage=asked.get("stage"), score=asked.get("score"))


async def _page(request: Request) -> Response:
    return FileResponse(PAGE / "index.html", headers=FRESH)


async def _icon(request: Request) -> Response:
    return FileResponse(ICON, headers=FRESH)


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    words = {404: f"there is nothing at {request.url.path[:200]}", 405: "the lab's page only reads"}
    return _json({"error": views.plain(words.get(status, "that is not possible"))}, status)


async def _failed(request: Request, error: Exception) -> Response:
    reply = _json({"error": "the server failed; its log says where"}, 500)
    reply.headers.update(HEADERS)  # written outside the middleware
    return reply


class _Static(StaticFiles):
    """The page's files, which browsers ask for anew, so that no page runs with the script of an older version."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        reply = super().file_response(*args, **options)
        reply.headers.update(FRESH)
        return reply
