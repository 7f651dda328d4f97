"""`/browser`: the chat page that computes where it is looked at, and what it needs for that."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from pathlib import Path

from starlette.responses import FileResponse, Response

from ayllu.data.archive import Archive, default_cache, fetch, open_member
from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.release.exports.export import export_model
from ayllu.serve.errors import ApiError
from ayllu.serve.middleware.security_headers import HEADERS
from ayllu.serve.routing.app import App
from ayllu.serve.served import Models

WLLAMA = Archive(
    registry="npm",
    name="@wllama/wllama",
    version="3.8.1",
    filename="wllama-wllama-3.8.1.tgz",
    sha256="bbe65fcc6d128d7853aed6d1699db7541e51a0363dc0135b8b68153acbf74670",
)
"""llama.cpp for browsers, MIT."""
FILES = {
    "index.js": ("package/esm/index.min.js", "text/javascript"),
    "wllama.wasm": ("package/esm/wasm/wllama.wasm", "application/wasm"),
}
"""What a browser needs of it: name, place in the archive, kind."""
POLICY = HEADERS["Content-Security-Policy"].replace(
    "script-src 'self'", "script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:"
)
"""This page alone may compile WebAssembly and start workers that it wrote itself, as wllama starts its own."""
PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    # With the opener policy that all answers have, the page gets memory that threads share.
    "Cross-Origin-Embedder-Policy": "require-corp",
}


class Browser:
    """The routes. The package is downloaded when it is first asked for, and the GGUF file made where there is none."""

    def __init__(self, models: Models, page: Path) -> None:
        self._models, self._page = models, page
        self._lock = asyncio.Lock()
        self._files: dict[str, bytes] = {}
        self._made: tempfile.TemporaryDirectory[str] | None = None

    def add_to(self, app: App) -> None:
        """Give `app` the routes."""
        app.add_endpoint("/browser", self.page, described=False)
        app.add_endpoint("/browser/wllama/{name}", self.part, described=False)
        app.add_endpoint("/browser/model.gguf", self.model, described=False)

    async def page(self) -> FileResponse:
        """The chat page, allowed to compute."""
        return FileResponse(self._page / "index.html", headers=PAGE_HEADERS)

    async def part(self, name: str) -> Response:
        """A file of wllama."""
        if name not in FILES:
            raise ApiError(404, f"there is nothing at /browser/wllama/{name[:100]}")
        async with self._lock:
            if name not in self._files:
                try:
                    self._files[name] = await asyncio.to_thread(_part, name)
                except UserError as error:
                    raise ApiError(503, str(error)) from error
        content = self._files[name]
        headers = {"Cache-Control": "no-cache", "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}
        if FILES[name][1] == "text/javascript":
            # Its workers are written by it, and what a document needs to share memory they need too.
            headers |= {"Cross-Origin-Embedder-Policy": "require-corp"}
        return Response(content, media_type=FILES[name][1], headers=headers)

    async def model(self) -> FileResponse:
        """The first model as a GGUF file: the release's own, or else one that is made for the time of serving."""
        async with self._lock:
            path = await asyncio.to_thread(self._gguf)
        return FileResponse(path, media_type="application/octet-stream", headers={"Cache-Control": "no-cache"})

    def _gguf(self) -> Path:
        folder = self._models.served[0].about.folder
        if folder is None:
            raise ApiError(404, "this model has no folder, so that no browser can have it")
        if own := sorted(folder.glob("*.gguf")):
            return own[0]
        if self._made is None:
            made = tempfile.TemporaryDirectory(prefix="ayllu-browser-", ignore_cleanup_errors=True)
            try:
                export_model(folder, "gguf", Path(made.name) / "gguf")
            except (UserError, ValueError, OSError) as error:
                made.cleanup()
                say(f"no browser can have this model: {error}")
                raise ApiError(500, f"no GGUF file can be made of this model: {error}") from error
            self._made = made
        return next((Path(self._made.name) / "gguf").glob("*.gguf"))


def _part(name: str) -> bytes:
    with open_member(fetch(WLLAMA, default_cache()), FILES[name][0]) as file:
        return file.read()
