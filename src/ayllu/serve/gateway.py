"""The HTTP server in front of an engine: OpenAI's chat and text completions, and the chat page."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles

from ayllu.serve import errors
from ayllu.serve.about import About
from ayllu.serve.engines import engine
from ayllu.serve.errors import BUSY, FAILED, ApiError
from ayllu.serve.history import ContextFull, Fitted, fit
from ayllu.serve.middleware.body_limits import Guard
from ayllu.serve.queue import EngineQueue, QueueFull
from ayllu.serve.schema import Body, ChatBody, TextBody

log = logging.getLogger("uvicorn.error")

PAGE = Path(str(resources.files("ayllu"))) / "page"
COMPLETION_TOKENS = 16
"""Default length of a text completion, as in OpenAI's API."""
FRESH = {"Cache-Control": "no-cache"}
DROPPED = "X-Dropped-Messages"
"""Header that counts the messages left out of a conversation that was too long."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may take."""

    body_bytes: int = 1 << 20
    body_seconds: float = 30
    """From the request's first byte until its body is there."""
    answer_seconds: float = 600
    """In the queue, and then again for the answer, which is cut there."""


def build(
    queue: EngineQueue,
    about: About,
    *,
    limits: Limits | None = None,
    hosts: tuple[str, ...] = (),
) -> FastAPI:
    """The application; `hosts` are names of this server other than IP addresses and localhost."""
    limits = limits or Limits()
    gateway = _Gateway(queue, about, limits)

    # The interactive documentation of FastAPI loads its scripts from another server, so it stays off.
    app = FastAPI(title="Ayllu", docs_url=None, redoc_url=None)
    errors.install(app)
    app.add_middleware(Guard, hosts=hosts, body_bytes=limits.body_bytes, body_seconds=limits.body_seconds)
    app.add_api_route("/", _page, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/static", _Static(directory=PAGE))
    app.add_api_route("/health", gateway.health, methods=["GET", "HEAD"])
    app.add_api_route("/card", gateway.card, include_in_schema=False)
    app.add_api_route("/v1/models", gateway.models)
    app.add_api_route("/v1/models/{name:path}", gateway.model)
    app.add_api_route("/v1/chat/completions", gateway.chat, methods=["POST"], response_model=None)
    app.add_api_route("/v1/completions", gateway.text, methods=["POST"], response_model=None)
    return app


async def _page() -> FileResponse:
    return FileResponse(PAGE / "index.html", headers=FRESH)


class _Static(StaticFiles):
    """The page's files, which browsers ask for anew, so that no page runs with the script of an older version."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        reply = super().file_response(*args, **options)
        reply.headers.update(FRESH)
        return reply


class _Gateway:
    """The routes, and what they share."""

    def __init__(self, queue: EngineQueue, about: About, limits: Limits) -> None:
        self.queue, self.about, self.limits = queue, about, limits

    async def health(self) -> dict[str, Any]:
        """Whether the server is up, and how many wait for the engine."""
        return {"status": "ok", "model": self.about.name, "waiting": self.queue.turns.waiting}

    async def card(self) -> Response:
        """The model card."""
        if self.about.card is None:
            raise ApiError(404, f"{self.about.name} has no model card")
        return Response(self.about.card, media_type="text/markdown; charset=utf-8")

    async def models(self) -> dict[str, Any]:
        """The one model that is served."""
        return {"object": "list", "data": [self._description()]}

    async def model(self, name: str) -> dict[str, Any]:
        """The model, by its name."""
        self._known(name)
        return self._description()

    async def chat(self, body: ChatBody, request: Request) -> Response:
        """Continue a conversation."""
        self._known(body.model)
        fitted = self._fit(body)
        job = self._job(body, fitted.prompt, body.tokens())
        form = _ChatForm(self.about.name)
        headers = {DROPPED: str(fitted.dropped)} if fitted.dropped else {}
        return await self._answer(form, [job], body, request, headers)

    async def text(self, body: TextBody, request: Request) -> Response:
        """Continue texts."""
        self._known(body.model)
        tokens = body.max_tokens or COMPLETION_TOKENS
        jobs = [self._job(body, self._ids(prompt), tokens) for prompt in body.prompt]
        return await self._answer(_TextForm(self.about.name), jobs, body, request, {})

    def _description(self) -> dict[str, Any]:
        about = self.about
        return {
            "id": about.name,
            "object": "model",
            "created": about.created,
            "owned_by": "ayllu",
            "meta": {
                "parameters": about.parameters,
                "context": about.context,
                "version": about.version,
                "licence": about.licence,
                "digest": about.digest,
                "bits_per_byte": about.bits_per_byte,
                "temperature": about.sampling.temperature,
                "card": about.card is not None,
            },
        }

    def _known(self, name: str | None) -> None:
        if name is not None and name != self.about.name:
            raise ApiError(
                404,
                f"the model {name[:100]!r} is not served here; this server has {self.about.name!r}",
                param="model",
                code="model_not_found",
            )

    def _fit(self, body: ChatBody) -> Fitted:
        messages = [message.message() for message in body.messages]
        try:
            return fit(
                messages,
                self.queue.engine.tokenizer,
                context=self.queue.engine.context,
                tokens=body.tokens(),
                trim=body.truncation == "auto",
            )
        except ContextFull as error:
            raise ApiError(400, str(error), param="messages", code="context_length_exceeded") from error
        except ValueError as error:
            raise ApiError(400, str(error), param="messages") from error

    def _ids(self, prompt: str | list[int]) -> list[int]:
        tokenizer, context = self.queue.engine.tokenizer, self.queue.engine.context
        ids = [tokenizer.bos, *tokenizer.encode(prompt)] if isinstance(prompt, str) else prompt
        if not all(0 <= i < tokenizer.size for i in ids):
            raise ApiError(400, f"prompt: ids must be from 0 to {tokenizer.size - 1}", param="prompt")
        if not ids:
            raise ApiError(400, "prompt is empty; give some text or ids", param="prompt")
        if len(ids) >= context:
            raise ApiError(
                400,
                f"the prompt has {len(ids)} tokens and the model's context holds {context}; shorten it",
                param="prompt",
                code="context_length_exceeded",
            )
        return ids

    def _job(self, body: Body, prompt: list[int], tokens: int | None) -> engine.Request:
        room = self.queue.engine.context - len(prompt)
        return engine.Request(
            prompt=prompt,
            tokens=min(tokens or room, room),
            sampling=body.sampling(self.about.sampling),
            stop=body.stop,
        )

    async def _answer(
        self, form: _Form, jobs: list[engine.Request], body: Body, request: Request, headers: dict[str, str]
    ) -> Response:
        if self.queue.full:
            raise ApiError(503, "too many requests are waiting; try again soon")
        client = f"{request.client.host if request.client else ''} {body.user or ''}"
        run = _Run(self, jobs, client)
        if body.stream:
            events = _events(form, run, usage=body.with_usage())
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **headers}
            return StreamingResponse(events, media_type="text/event-stream", headers=headers)
        texts = [""] * len(jobs)
        finishes: list[str | None] = [None] * len(jobs)

        async def collect() -> None:
            async with aclosing(run.pieces()) as pieces:
                async for index, piece in pieces:
                    texts[index] += piece.text
                    finishes[index] = piece.finish

        try:
            await _unless_gone(request, collect)
        except QueueFull:
            raise ApiError(503, BUSY) from None
        except ApiError:
            raise
        except Exception:
            # Answered here: left to the framework, the server would close a connection that the client takes for open.
            log.exception("an answer failed on its way")
            raise ApiError(500, FAILED) from None
        choices = [form.choice(i, texts[i], finishes[i]) for i in range(len(jobs))]
        return JSONResponse(form.body(choices, run.usage()), headers=headers)


class _Run:
    """The engine's work for one request, and the counts of its tokens."""

    def __init__(self, gateway: _Gateway, jobs: list[engine.Request], client: str) -> None:
        self._gateway, self._jobs, self._client = gateway, jobs, client
        self._generated = 0

    async def pieces(self) -> AsyncGenerator[tuple[int, engine.Piece]]:
        """All pieces with the number of the choice that they belong to."""
        for index, job in enumerate(self._jobs):
            seconds = self._gateway.limits.answer_seconds
            async with aclosing(self._gateway.queue.stream(job, client=self._client, seconds=seconds)) as pieces:
                async for piece in pieces:
                    self._generated += piece.tokens
                    yield index, piece

    def usage(self) -> dict[str, int]:
        """Tokens read and written so far."""
        read = sum(len(job.prompt) for job in self._jobs)
        return {
            "prompt_tokens": read,
            "completion_tokens": self._generated,
            "total_tokens": read + self._generated,
        }


class _Form:
    """How an answer is laid out; one object for each request, since all its parts carry the same id."""

    prefix, kind, chunk_kind = "", "", ""

    def __init__(self, model: str) -> None:
        self._head = {"id": f"{self.prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def body(self, choices: list[dict[str, Any]], usage: dict[str, int]) -> dict[str, Any]:
        """A whole answer."""
        return {**self._head, "object": self.kind, "choices": choices, "usage": usage}

    def chunk(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """A part of a stream."""
        return {**self._head, "object": self.chunk_kind, "choices": choices, **more}

    def choice(self, index: int, text: str, finish: str | None) -> dict[str, Any]:
        """A whole choice."""
        raise NotImplementedError

    def begin(self, index: int) -> dict[str, Any] | None:
        """What a stream says of a choice before its text."""
        raise NotImplementedError

    def part(self, index: int, text: str, finish: str | None) -> dict[str, Any]:
        """Some text of a choice, or its end."""
        raise NotImplementedError


class _ChatForm(_Form):
    prefix, kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def choice(self, index: int, text: str, finish: str | None) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": index, "message": message, "finish_reason": finish, "logprobs": None}

    def begin(self, index: int) -> dict[str, Any] | None:
        return self._choice(index, {"role": "assistant", "content": ""}, None)

    def part(self, index: int, text: str, finish: str | None) -> dict[str, Any]:
        return self._choice(index, {"content": text} if text else {}, finish)

    def _choice(self, index: int, delta: dict[str, str], finish: str | None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}


class _TextForm(_Form):
    prefix, kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def choice(self, index: int, text: str, finish: str | None) -> dict[str, Any]:
        return {"index": index, "text": text, "finish_reason": finish, "logprobs": None}

    def begin(self, index: int) -> dict[str, Any] | None:
        return None

    def part(self, index: int, text: str, finish: str | None) -> dict[str, Any]:
        return self.choice(index, text, finish)


async def _events(form: _Form, run: _Run, *, usage: bool) -> AsyncGenerator[str]:
    """Server-sent events: the chunks, then `[DONE]`; a problem on the way is an event with OpenAI's error body."""
    nothing: dict[str, Any] = {"usage": None} if usage else {}
    started = -1
    try:
        async with aclosing(run.pieces()) as pieces:
            async for index, piece in pieces:
                if index != started and (first := form.begin(index)) is not None:
                    yield _event(form.chunk([first], **nothing))
                started = index
                if piece.text:
                    yield _event(form.chunk([form.part(index, piece.text, None)], **nothing))
                if piece.finish:
                    yield _event(form.chunk([form.part(index, "", piece.finish)], **nothing))
    except QueueFull:
        yield _event(ApiError(503, BUSY).body)
        return
    except Exception:
        log.exception("an answer failed on its way")
        yield _event(ApiError(500, FAILED).body)
        return
    if usage:
        yield _event(form.chunk([], usage=run.usage()))
    yield "data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def _unless_gone(request: Request, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do `work`, but stop it when the client hangs up."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.ensure_future(work()), asyncio.ensure_future(gone())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
