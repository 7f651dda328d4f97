"""`POST /v1/messages` and `POST /v1/messages/count_tokens`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from ayllu.serve.engines.engine import EngineEnded
from ayllu.serve.errors import BUSY, FAILED, ApiError
from ayllu.serve.limits import Limits
from ayllu.serve.messages.body import CountBody, MessagesBody
from ayllu.serve.messages.layout import MessageWriter, Sent, error_body, status_of
from ayllu.serve.queueing.turns import QueueFull
from ayllu.serve.responses.streams import STREAM_HEADERS, as_lines
from ayllu.serve.routing.app import App
from ayllu.serve.served import Models, Served
from ayllu.serve.turn.answer import Answer
from ayllu.serve.turn.count import count_tokens
from ayllu.serve.turn.generation import generation_request
from ayllu.serve.turn.prepare import Prepared, prepare

log = logging.getLogger("uvicorn.error")


class Messages:
    """Both routes, and what they share."""

    def __init__(self, models: Models, limits: Limits) -> None:
        self._models, self._limits = models, limits

    def add_to(self, app: App) -> None:
        """Give `app` the routes."""
        for path, work in (("/v1/messages", self.create), ("/v1/messages/count_tokens", self.count)):
            app.add_endpoint(path, work, methods=["POST"], refusal=_refusal)

    async def count(self, body: CountBody) -> dict[str, int]:
        """How many tokens the prompt of a body has."""
        served = await self._models.find(body.model)
        return {"input_tokens": await served.prepare(lambda turn: count_tokens(served, turn), body.turn())}

    async def create(self, body: MessagesBody, http: Request) -> Response:
        """Continue a conversation."""
        served = await self._models.find(body.model)
        user = body.metadata.user_id if body.metadata is not None else None
        client = f"{http.client.host if http.client else ''} {user or ''}"
        served.check_room(client)
        prepared = await _prepared(served, body, body.max_tokens)
        sampling = body.sampling(served.about.sampling)
        request = generation_request(served, prepared, sampling=sampling, most=body.max_tokens)
        seconds = self._limits.answer_seconds
        answer = Answer(served.queue, request, prepared.reader(), client=client, seconds=seconds)
        whole_room = request.max_tokens < body.max_tokens
        writer = MessageWriter(served.about.name, answer, stops=body.stop_sequences, whole_room=whole_room)
        if body.stream:
            lines = as_lines(_told(writer), done="")
            return StreamingResponse(lines, media_type="text/event-stream", headers=STREAM_HEADERS)
        await _whole(writer, http)
        return JSONResponse(writer.message)


async def _prepared(served: Served, body: MessagesBody, most: int) -> Prepared:
    return await served.prepare(lambda turn: prepare(served, turn, max_tokens=most, trim=False), body.turn())


async def _whole(writer: MessageWriter, http: Request) -> None:
    """Compute the message; the computing stops when the client hangs up. ApiError where it fails."""

    async def collect() -> None:
        async with aclosing(writer.events()) as events:
            async for _ in events:
                pass

    async def disconnected() -> None:
        while (await http.receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.ensure_future(collect()), asyncio.ensure_future(disconnected())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    except QueueFull:
        raise ApiError(503, BUSY) from None
    except EngineEnded as error:
        raise ApiError(503, str(error)) from None
    except ApiError:
        raise
    except Exception:
        log.exception("an answer failed on its way")
        raise ApiError(500, FAILED) from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _told(writer: MessageWriter) -> AsyncGenerator[Sent]:
    """The events of a message; a problem on the way is the last of them."""
    try:
        async with aclosing(writer.events()) as events:
            async for event in events:
                yield event
    except QueueFull:
        yield error_body(ApiError(503, BUSY))
    except EngineEnded as error:
        yield error_body(ApiError(503, str(error)))
    except ApiError as error:
        yield error_body(error)
    except Exception:
        log.exception("an answer failed on its way")
        yield error_body(ApiError(500, FAILED))


def _refusal(error: ApiError) -> JSONResponse:
    headers = error.response().headers
    kept = {"Retry-After": headers["retry-after"]} if "retry-after" in headers else None
    return JSONResponse(error_body(error), status_of(error), kept)
