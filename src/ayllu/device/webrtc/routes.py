"""`POST /v1/realtime/calls`: an offer in, an answer out, as OpenAI's clients send them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ayllu.device.realtime.session import Session
from ayllu.serve.errors import ApiError
from ayllu.serve.routing.app import App

PATH = "/v1/realtime/calls"
MOST_SDP = 256 << 10
MOST_UNREAD = 4096
MISSING = "this server has no WebRTC; install it with: pip install 'ayllu[webrtc]'"


class Calls:
    """The routes. `make` gives a session that writes to a queue; `free` says whether one more may be."""

    def __init__(self, make: Callable[[asyncio.Queue[str]], Session], most: int) -> None:
        self._make, self._most = make, most
        self._calls: dict[str, Any] = {}

    def add_to(self, app: App) -> None:
        """Give `app` the routes."""
        app.add_endpoint(PATH, self.create, methods=["POST"], described=False)
        app.add_endpoint(PATH + "/{call_id}/hangup", self.hang_up, methods=["POST"], described=False)

    async def create(self, http: Request) -> Response:
        """Answer an offer; the call is in `Location`."""
        try:
            from ayllu.device.webrtc.call import Call
        except ModuleNotFoundError:
            raise ApiError(501, MISSING, code="no_webrtc") from None
        sdp, settings = await _offer(http)
        self._calls = {name: call for name, call in self._calls.items() if not call.ended.is_set()}
        if len(self._calls) >= self._most:
            raise ApiError(503, f"{self._most} calls are open; try again later")
        out: asyncio.Queue[str] = asyncio.Queue(MOST_UNREAD)
        session = self._make(out)
        if settings is not None:
            await session.take(json.dumps({"type": "session.update", "session": settings}))
            problem = json.loads(out.get_nowait())
            if problem["type"] == "error":
                await session.close()
                raise ApiError(400, problem["error"]["message"], param=problem["error"]["param"])
        call = Call(session, out)
        answer = await call.answer(sdp)
        self._calls[call.id] = call
        headers = {"Location": f"{PATH}/{call.id}"}
        return Response(answer, status_code=201, media_type="application/sdp", headers=headers)

    async def hang_up(self, call_id: str) -> Response:
        """End a call."""
        call = self._calls.pop(call_id, None)
        if call is None:
            raise ApiError(404, f"there is no call {call_id[:64]!r}")
        await call.close()
        return Response(status_code=200)


async def _offer(http: Request) -> tuple[str, dict[str, Any] | None]:
    """The offer and the settings: a body of SDP alone, or a form with both."""
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/sdp":
        sdp: Any = (await http.body()).decode(errors="replace")
        settings: Any = None
    elif kind == "multipart/form-data":
        async with http.form(max_files=2, max_fields=4, max_part_size=1 << 20) as form:
            sdp, settings = [await _text(form.get(name)) for name in ("sdp", "session")]
    else:
        raise ApiError(415, "the body is an offer: Content-Type application/sdp, or a form with sdp and session")
    if not isinstance(sdp, str) or not sdp.startswith("v=") or len(sdp) > MOST_SDP:
        raise ApiError(400, "sdp is no offer in SDP", param="sdp", code="invalid_offer")
    try:
        settings = None if settings is None else json.loads(settings)
    except (ValueError, RecursionError):
        raise ApiError(400, "session is not JSON", param="session") from None
    return sdp, settings


async def _text(part: Any) -> str | None:
    return part if part is None or isinstance(part, str) else (await part.read()).decode(errors="replace")
