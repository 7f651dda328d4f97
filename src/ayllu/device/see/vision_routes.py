"""What the page finds faces with: onnxruntime as WebAssembly, and the network. Fetched when first asked for."""

from __future__ import annotations

import asyncio
import hashlib

from starlette.responses import Response

from ayllu.data.archive import Archive, default_cache, fetch, open_member
from ayllu.device.see.faces import centerface
from ayllu.lab.error import UserError
from ayllu.serve.errors import ApiError
from ayllu.serve.routing.app import App

ONNXRUNTIME_WEB = Archive(
    registry="npm",
    name="onnxruntime-web",
    version="1.23.0",
    filename="onnxruntime-web-1.23.0.tgz",
    sha256="7e0074d9319fdef002bcf28ef73eb119dd6302083fa0395ec560cb4e5ca0970b",
)
"""Microsoft's, MIT."""
FILES = {
    "ort.mjs": ("package/dist/ort.wasm.bundle.min.mjs", "text/javascript"),
    "ort.wasm": ("package/dist/ort-wasm-simd-threaded.wasm", "application/wasm"),
    "faces.onnx": ("", "application/octet-stream"),
}
"""By name: place in the archive, kind."""


class Vision:
    """The routes."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._files: dict[str, bytes] = {}

    def add_to(self, app: App) -> None:
        """Give `app` the routes, before the page's own files."""
        app.add_endpoint("/glasses/vision/{name}", self.part, described=False)

    async def part(self, name: str) -> Response:
        """One file; 503 where it cannot be had."""
        if name not in FILES:
            raise ApiError(404, f"there is nothing at /glasses/vision/{name[:100]}")
        async with self._lock:
            if name not in self._files:
                try:
                    self._files[name] = await asyncio.to_thread(_read, name)
                except UserError as error:
                    raise ApiError(503, str(error)) from error
        content = self._files[name]
        headers = {"Cache-Control": "no-cache", "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}
        return Response(content, media_type=FILES[name][1], headers=headers)


def _read(name: str) -> bytes:
    if name == "faces.onnx":
        return centerface(default_cache())
    with open_member(fetch(ONNXRUNTIME_WEB, default_cache()), FILES[name][0]) as file:
        return file.read()
