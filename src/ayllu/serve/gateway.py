"""The HTTP server in front of an engine: OpenAI's chat and text completions, and the chat page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware import Middleware

from ayllu.serve import errors
from ayllu.serve.about import About
from ayllu.serve.answer import Generation, answer_stream, answer_whole
from ayllu.serve.engines.engine import GenerationRequest
from ayllu.serve.errors import ApiError
from ayllu.serve.history import ContextFull, FittedPrompt, fit_to_context, longest_prompt
from ayllu.serve.middleware.body_limits import BodyLimitMiddleware
from ayllu.serve.middleware.host_check import HostCheckMiddleware
from ayllu.serve.middleware.security_headers import SecurityHeadersMiddleware
from ayllu.serve.queue import EngineQueue
from ayllu.serve.responses import ChatFormat, ResponseFormat, TextFormat
from ayllu.serve.schema import Body, ChatBody, TextBody

PAGE = Path(str(resources.files("ayllu"))) / "page"
COMPLETION_TOKENS = 16
"""Default length of a text completion, as in OpenAI's API."""
PREPARING = 2
"""Threads that make prompts of what clients sent."""
Given = TypeVar("Given")
Made = TypeVar("Made")
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


def create_app(
    queue: EngineQueue,
    about: About,
    *,
    limits: Limits | None = None,
    hosts: Sequence[str] = (),
) -> FastAPI:
    """The application; `hosts` are names of this server other than IP addresses and localhost."""
    limits = limits or Limits()
    gateway = _Gateway(queue, about, limits)
    middleware = [
        Middleware(SecurityHeadersMiddleware),
        Middleware(HostCheckMiddleware, hosts=hosts),
        Middleware(BodyLimitMiddleware, most_bytes=limits.body_bytes, seconds=limits.body_seconds),
    ]

    # The interactive documentation of FastAPI loads its scripts from another server, so it stays off.
    app = FastAPI(title="Ayllu", docs_url=None, redoc_url=None, middleware=middleware)
    errors.install(app)
    app.add_api_route("/", _page, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/static", _Static(directory=PAGE))
    app.add_api_route("/health", gateway.health, methods=["GET", "HEAD"])
    app.add_api_route("/card", gateway.card, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/v1/models", gateway.models, methods=["GET", "HEAD"])
    app.add_api_route("/v1/models/{name:path}", gateway.model, methods=["GET", "HEAD"])
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
        # Templates and tokenizers take seconds for a megabyte: in threads of their own, so that nobody waits for them
        # but those who sent it.
        self._preparing = ThreadPoolExecutor(PREPARING, thread_name_prefix="prepare")

    async def health(self) -> dict[str, Any]:
        """Whether the server is up, how many the engine answers, and how many wait for it."""
        queue = self.queue
        return {"status": "ok", "model": self.about.name, "running": queue.running, "waiting": queue.turns.waiting}

    async def card(self) -> Response:
        """The model card."""
        if self.about.card is None:
            raise ApiError(404, f"{self.about.name} has no model card")
        return Response(self.about.card, media_type="text/markdown; charset=utf-8")

    async def models(self) -> dict[str, Any]:
        """The one model that is served, by each of its names."""
        names = (self.about.name, *self.about.aliases)
        return {"object": "list", "data": [self._description(name) for name in names]}

    async def model(self, name: str) -> dict[str, Any]:
        """The model, by one of its names; all of them where there is none, as behind a last slash."""
        if not name:
            return await self.models()
        self._check_model(name)
        return self._description(name)

    async def chat(self, body: ChatBody, http: Request) -> Response:
        """Continue a conversation."""
        self._check_model(body.model)
        self._check_room(body, http)
        fitted = await self._prepare(self._fit_to_context, body)
        request = self._generation_request(body, fitted.prompt, body.answer_tokens())
        headers = {DROPPED: str(fitted.dropped)} if fitted.dropped else {}
        return await self._answer(ChatFormat(self.about.name), [request], body, http, headers)

    async def text(self, body: TextBody, http: Request) -> Response:
        """Continue texts."""
        self._check_model(body.model)
        self._check_room(body, http)
        most = body.max_tokens or COMPLETION_TOKENS
        prompts = [await self._prepare(self._encode, prompt) for prompt in body.prompt]
        requests = [self._generation_request(body, prompt, most) for prompt in prompts]
        return await self._answer(TextFormat(self.about.name), requests, body, http, {})

    async def _prepare(self, work: Callable[[Given], Made], given: Given) -> Made:
        return await asyncio.get_running_loop().run_in_executor(self._preparing, work, given)

    def _description(self, name: str) -> dict[str, Any]:
        about = self.about
        return {
            "id": name,
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

    def _check_model(self, name: str | None) -> None:
        names = (self.about.name, *self.about.aliases)
        if name is not None and name not in names:
            raise ApiError(
                404,
                f"the model {name[:100]!r} is not served here; this server has {' or '.join(map(repr, names))}",
                param="model",
                code="model_not_found",
            )

    def _fit_to_context(self, body: ChatBody) -> FittedPrompt:
        messages = [message.message() for message in body.messages]
        try:
            return fit_to_context(
                messages,
                self.queue.engine.tokenizer,
                context=self.queue.engine.context,
                max_tokens=body.answer_tokens(),
                trim=body.truncation != "disabled",
            )
        except ContextFull as error:
            raise ApiError(400, str(error), param="messages", code="context_length_exceeded") from error
        except ValueError as error:
            raise ApiError(400, str(error), param="messages") from error

    def _encode(self, prompt: str | list[int]) -> list[int]:
        tokenizer, context = self.queue.engine.tokenizer, self.queue.engine.context
        ids = [tokenizer.bos, *tokenizer.encode(prompt)] if isinstance(prompt, str) else prompt
        if not all(0 <= i < tokenizer.size for i in ids):
            raise ApiError(400, f"prompt: ids must be from 0 to {tokenizer.size - 1}", param="prompt")
        if not ids:
            raise ApiError(400, "prompt is empty; give some text or ids", param="prompt")
        if len(ids) >= context:
            raise ApiError(
                400,
                f"the prompt has {len(ids)} tokens, but {longest_prompt(context)}; shorten it",
                param="prompt",
                code="context_length_exceeded",
            )
        return ids

    def _generation_request(self, body: Body, prompt: list[int], most: int | None) -> GenerationRequest:
        room = self.queue.engine.context - len(prompt)
        return GenerationRequest(
            prompt=prompt,
            max_tokens=min(most or room, room),
            sampling=body.sampling(self.about.sampling),
            stop=body.stop,
        )

    def _check_room(self, body: Body, http: Request) -> None:
        if self.queue.full(_client(body, http)):
            raise ApiError(503, "too many of your requests are waiting; try again soon")

    async def _answer(
        self,
        form: ResponseFormat,
        requests: list[GenerationRequest],
        body: Body,
        http: Request,
        headers: dict[str, str],
    ) -> Response:
        generation = Generation(self.queue, requests, client=_client(body, http), seconds=self.limits.answer_seconds)
        if body.stream:
            events = answer_stream(form, generation, usage=body.with_usage())
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **headers}
            return StreamingResponse(events, media_type="text/event-stream", headers=headers)
        return JSONResponse(await answer_whole(form, generation, http), headers=headers)


def _client(body: Body, http: Request) -> str:
    """Whose turn it is: that of a machine, and of a user where it says for whom it asks."""
    return f"{http.client.host if http.client else ''} {body.user or ''}"
