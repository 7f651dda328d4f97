"""The page that turns a browser into the glasses."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from ayllu.device.see.vision_routes import Vision
from ayllu.serve.routing.app import App

PAGE = Path(str(resources.files("ayllu"))) / "device" / "page"
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; "
        "media-src 'self' blob:; "
        "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=(self)",
}
"""The sensors are for this page alone, and it may compile WebAssembly, which finds the faces that it blurs."""


def add_page(app: App) -> None:
    """Give `app` the page, at /glasses."""
    Vision().add_to(app)
    app.add_endpoint("/glasses", _page, described=False)
    app.mount("/glasses", _Files(directory=PAGE))


async def _page() -> FileResponse:
    return FileResponse(PAGE / "index.html", headers=HEADERS)


class _Files(StaticFiles):
    """Files that belong to the page."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        reply = super().file_response(*args, **options)
        reply.headers.update({"Cache-Control": "no-cache"})
        return reply
