"""`/v1/responses`: create, read, follow, cancel, delete, and what went in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from ayllu.serve.errors import ApiError
from ayllu.serve.responses.body import CountBody, ResponseBody, is_id
from ayllu.serve.responses.events import Sent
from ayllu.serve.responses.responder import Responder
from ayllu.serve.responses.run import ResponseRun, unpack
from ayllu.serve.responses.streams import STREAM_HEADERS, as_lines
from ayllu.serve.routing.app import App
from ayllu.serve.served import Models
from ayllu.serve.state.items import Item, Missing, Page

POLL_SECONDS = 0.5
"""Between two looks at what another server computes."""
OPEN = ("queued", "in_progress")

Limit = Annotated[int, Field(ge=1, le=100)]
Order = Literal["asc", "desc"]
Include = Annotated[list[str], Field(alias="include[]", max_length=20)]
AlsoInclude = Annotated[list[str], Field(alias="include", max_length=20)]


class Responses:
    """The routes, and what they share."""

    def __init__(self, responder: Responder, models: Models) -> None:
        self._responder, self._models, self._keeper = responder, models, responder.keeper

    def add_to(self, app: App) -> None:
        """Give `app` the routes."""
        app.add_endpoint("/v1/responses", self.create, methods=["POST"])
        app.add_endpoint("/v1/responses/input_tokens", self.count, methods=["POST"])
        app.add_endpoint("/v1/responses/{name}", self.read, methods=["GET"])
        app.add_endpoint("/v1/responses/{name}", self.delete, methods=["DELETE"])
        app.add_endpoint("/v1/responses/{name}/cancel", self.cancel, methods=["POST"])
        app.add_endpoint("/v1/responses/{name}/input_items", self.inputs, methods=["GET"])

    async def create(self, body: ResponseBody, http: Request) -> Response:
        """Answer, at once or in the background."""
        run = await self._responder.begin(body, client=client_of(http, body), owner=owner_of(http))
        if body.stream:
            events = run.events() if body.background else _until_left(run)
            return _stream(events)
        if body.background:
            return JSONResponse(run.resource)
        await _watched(http, run)
        if run.error is not None:
            raise run.error
        return JSONResponse(run.resource)

    async def count(self, body: CountBody, http: Request) -> dict[str, Any]:
        """How many tokens the prompt of a body has."""
        served = await self._models.find(body.model)
        owner = owner_of(http)
        given, past = await self._responder.given(body, owner), await self._responder.past(body, owner)
        found = await self._responder.counted(served, body, past, given, owner)
        return {"object": "response.input_tokens", "input_tokens": found}

    async def read(
        self,
        name: str,
        http: Request,
        stream: bool = False,
        starting_after: Annotated[int, Field(ge=-1)] = -1,
        include_obfuscation: bool = False,
        include: Include = [],  # noqa: B006
        also_include: AlsoInclude = [],  # noqa: B006
    ) -> Response:
        """A response, as it is now or as its events; what it has is always included."""
        owner = owner_of(http)
        if not stream:
            return JSONResponse(await self._responder.resource(name, owner))
        body = await self._responder.resource(name, owner)
        run = self._responder.runs.get(name)
        if not body["background"]:
            raise ApiError(400, "only a response with background=true and stream=true can be streamed", param="stream")
        if run is not None:
            return _stream(run.events(starting_after))
        if body["status"] not in OPEN:
            return _stream(_listed(await self._events(name), starting_after))
        return _stream(self._others(name, owner, starting_after))

    async def delete(self, name: str, http: Request) -> dict[str, Any]:
        """Forget a response."""
        await self._responder.delete(name, owner_of(http))
        return {"id": name, "object": "response", "deleted": True}

    async def cancel(self, name: str, http: Request) -> Response:
        """Stop a response that runs in the background."""
        return JSONResponse(await self._responder.cancel(name, owner_of(http)))

    async def inputs(
        self,
        name: str,
        http: Request,
        limit: Limit = 20,
        order: Order = "desc",
        after: str | None = None,
        include: Include = [],  # noqa: B006
        also_include: AlsoInclude = [],  # noqa: B006
    ) -> dict[str, Any]:
        """The items that were given with the request of a response, not those before it."""
        await self._responder.resource(name, owner_of(http))
        page = page_of(limit, order, after)
        return await listed(self._keeper.run(self._keeper.store().input_page, name, page))

    async def _events(self, name: str) -> list[Sent]:
        kept = await self._keeper.run(self._keeper.store().events, name)
        if kept is None:
            raise ApiError(400, "the events of this response were not kept; read it without stream", param="stream")
        return unpack(kept)

    async def _others(self, name: str, owner: str, after: int) -> AsyncGenerator[Sent]:
        """The events of what another server computes: at its end, since they are kept there."""
        while (await self._responder.resource(name, owner))["status"] in OPEN:
            await asyncio.sleep(POLL_SECONDS)
        for event in await self._events(name):
            if event["sequence_number"] > after:
                yield event


def client_of(http: HTTPConnection, body: ResponseBody) -> str:
    """Whose turn it is: that of a machine, and of a user where it says for whom it asks."""
    return f"{http.client.host if http.client else ''} {body.safety_identifier or body.user or ''}"


def owner_of(http: HTTPConnection) -> str:
    """Whose responses these are: nobody else reads them."""
    return str(http.scope.get("state", {}).get("owner", ""))


def page_of(limit: int, order: str, after: str | None) -> Page:
    """Which part of a list is wanted; ApiError where it begins behind what has no id of ours."""
    if after is not None and not is_id(after):
        raise ApiError(400, f"after: there is no item {after[:200]!r}", param="after")
    return Page(limit=limit, after=after, newest_first=order == "desc")


async def listed(found: Any) -> dict[str, Any]:
    """A part of a list as the API gives it."""
    try:
        items, more = await found
    except Missing as error:
        raise ApiError(400, f"after: there is no item {error.name!r}", param="after") from None
    return listing(items, more)


def listing(items: list[Item], more: bool) -> dict[str, Any]:
    """Items as a list of the API."""
    ends = {"first_id": items[0]["id"] if items else "", "last_id": items[-1]["id"] if items else ""}
    return {"object": "list", "data": items, **ends, "has_more": more}


def _stream(events: AsyncGenerator[Sent]) -> StreamingResponse:
    return StreamingResponse(as_lines(events), media_type="text/event-stream", headers=STREAM_HEADERS)


async def _listed(events: list[Sent], after: int) -> AsyncGenerator[Sent]:
    for event in events:
        if event["sequence_number"] > after:
            yield event


async def _until_left(run: ResponseRun) -> AsyncGenerator[Sent]:
    """The events of a response that nobody else waits for: it ends when its client leaves."""
    try:
        async for event in run.events():
            yield event
    finally:
        run.cancel()


async def _watched(http: Request, run: ResponseRun) -> None:
    """Wait for the end of a response, and stop it when its client hangs up."""

    async def disconnected() -> None:
        while (await http.receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.ensure_future(run.wait()), asyncio.ensure_future(disconnected())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not tasks[0].done():
            run.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
