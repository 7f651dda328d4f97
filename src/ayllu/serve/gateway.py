"""The HTTP server in front of the engines: OpenAI's API, and the chat page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.middleware import Middleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from ayllu.serve.about import About
from ayllu.serve.access.access import Access
from ayllu.serve.audio.speech import Speech
from ayllu.serve.browser.routes import Browser
from ayllu.serve.completions.routes import Completions
from ayllu.serve.embeddings.embedder import Embedder
from ayllu.serve.embeddings.queue import Embedders
from ayllu.serve.errors import ApiError
from ayllu.serve.limits import Limits
from ayllu.serve.middleware.access import AccessMiddleware
from ayllu.serve.middleware.base_path import BasePathMiddleware
from ayllu.serve.middleware.body_limits import BodyLimitMiddleware
from ayllu.serve.middleware.host_check import HostCheckMiddleware
from ayllu.serve.middleware.request_ids import RequestMiddleware
from ayllu.serve.middleware.security_headers import SecurityHeadersMiddleware
from ayllu.serve.operations.health import Health
from ayllu.serve.operations.operations import Operations
from ayllu.serve.responses.conversations import Conversations
from ayllu.serve.responses.hosted.tools import DEFINITIONS, HostedFactory, HostedTools, Sources
from ayllu.serve.responses.responder import Responder
from ayllu.serve.responses.routes import Responses
from ayllu.serve.responses.socket import Socket
from ayllu.serve.routing.app import App
from ayllu.serve.served import Models
from ayllu.serve.state.keeper import Keeper
from ayllu.serve.state.store import Store
from ayllu.serve.tokens.routes import Tokens

if TYPE_CHECKING:
    from ayllu.serve.containers.kept import Containers
    from ayllu.serve.files.routes import Files
    from ayllu.serve.vector_stores.body import SearchBody
    from ayllu.serve.vector_stores.routes import VectorStores

PAGE = Path(str(resources.files("ayllu"))) / "page"
FRESH = {"Cache-Control": "no-cache"}


def create_app(
    models: Models,
    *,
    limits: Limits | None = None,
    hosts: Sequence[str] = (),
    access: Access | None = None,
    operations: Operations | None = None,
    base_path: str = "",
    encoders: Sequence[Embedder] = (),
    home: Path | None = None,
    store: Store | None = None,
    browser: bool = False,
    speech: Speech | None = None,
    hosted: HostedFactory | None = None,
) -> App:
    """The application; `hosts` are names of this server other than IP addresses and localhost.

    Without `access` no key is asked for; without `operations` there are metrics, and neither log nor traces.
    `base_path` is the path that a proxy puts the server at. What clients upload is kept in `home`; without one nothing
    is. `encoders` embed texts; so do the hidden states of the models, where a request names one. `store` keeps
    responses and conversations; without one nothing does. With `browser` visitors may load the first model into their
    own browsers. `speech` hears and speaks for `/v1/audio`.
    `hosted` makes what runs the tools that responses ask the server to run; without it they are refused.
    """
    limits = limits or Limits()
    operations = operations or Operations(models)
    responder = Responder(models, limits, Keeper(store))
    middleware = [
        Middleware(SecurityHeadersMiddleware),
        *([Middleware(BasePathMiddleware, base=base_path)] if base_path else []),
        Middleware(RequestMiddleware, operations=operations),
        Middleware(HostCheckMiddleware, hosts=hosts),
        *([Middleware(AccessMiddleware, access=access)] if access is not None else []),
        Middleware(
            BodyLimitMiddleware,
            most_bytes=limits.body_bytes,
            seconds=limits.body_seconds,
            upload_bytes=limits.upload_bytes,
            upload_seconds=limits.upload_seconds,
        ),
    ]

    app = App(middleware=middleware, lifespan=responder.living)
    app.add_endpoint("/", _page, described=False)
    app.mount("/static", _Static(directory=PAGE))
    embedders = Embedders(*encoders, models=models)
    if browser:
        Browser(models, PAGE).add_to(app)
    Health(models, operations.metrics).add_to(app)
    Completions(models, limits).add_to(app)
    Tokens(models).add_to(app)
    documents = _Documents(home, limits, embedders)
    if hosted is not None:
        sources = Sources(search=documents.passages, file=documents.read, store=documents.check)
        responder.hosted = hosted(sources)
        documents.containers = responder.hosted.containers
    _Descriptions(models, encoders, browser, responder.hosted).add_to(app)
    Responses(responder, models).add_to(app)
    Socket(responder).add_to(app)
    Conversations(responder.keeper).add_to(app)
    app.add_late(("/v1/files", "/v1/vector_stores", "/v1/containers"), documents.add_to)
    _add_late(app, models, limits, embedders, speech)
    return app


def _add_late(app: App, models: Models, limits: Limits, embedders: Embedders, speech: Speech | None) -> None:
    """Routes that stand alone and that few sessions begin with."""

    def messages(app: App) -> None:
        from ayllu.serve.messages.routes import Messages

        Messages(models, limits).add_to(app)

    def embeddings(app: App) -> None:
        from ayllu.serve.embeddings.routes import Embeddings

        Embeddings(embedders, limits).add_to(app)

    def audio(app: App) -> None:
        from ayllu.serve.audio.routes import Audio

        Audio(speech).add_to(app)

    def moderations(app: App) -> None:
        from ayllu.serve.moderations.routes import Moderations

        Moderations().add_to(app)

    app.add_late(("/v1/messages",), messages)
    app.add_late(("/v1/embeddings", "/v1/rerank", "/v2/rerank", "/rerank"), embeddings)
    app.add_late(("/v1/audio",), audio)
    app.add_late(("/v1/moderations",), moderations)


class _Documents:
    """What clients upload: files, the vector stores that hold them, and containers that programs run in."""

    containers: Containers | None = None
    """Of the tools that this server runs."""

    def __init__(self, home: Path | None, limits: Limits, embedders: Embedders) -> None:
        self._home, self._limits, self._embedders = home, limits, embedders

    @cached_property
    def files(self) -> Files:
        """Those of all owners."""
        from ayllu.serve.files.routes import Files

        return Files(self._home / "files" if self._home is not None else None, self._limits)

    @cached_property
    def stores(self) -> VectorStores:
        """Of files among them, which they forget as soon as those are gone."""
        from ayllu.serve.vector_stores.routes import VectorStores

        folder = self._home / "vector_stores" if self._home is not None else None
        return VectorStores(folder, self.files, self._embedders)

    async def passages(self, owner: str, store_id: str, body: SearchBody) -> list[dict[str, Any]]:
        """See `VectorStores.passages`."""
        return await self.stores.passages(owner, store_id, body)

    async def check(self, owner: str, store_id: str) -> None:
        """See `VectorStores.check`."""
        await self.stores.check(owner, store_id)

    async def read(self, owner: str, file_id: str) -> tuple[str, bytes]:
        """See `Files.read`."""
        return await self.files.read(owner, file_id)

    def add_to(self, app: App) -> None:
        """Give `app` the routes."""
        from ayllu.serve.containers.routes import ContainerRoutes

        self.files.add_to(app)
        self.stores.add_to(app)
        ContainerRoutes(self.containers, self.files, most_bytes=self._limits.upload_bytes).add_to(app)


async def _page() -> FileResponse:
    return FileResponse(PAGE / "index.html", headers=FRESH)


class _Static(StaticFiles):
    """The page's files, which browsers ask for anew, so that no page runs with the script of an older version."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        reply = super().file_response(*args, **options)
        reply.headers.update(FRESH)
        return reply


class _Descriptions:
    """What is served."""

    def __init__(self, models: Models, encoders: Sequence[Embedder], browser: bool, hosted: HostedTools | None) -> None:
        self._models, self._encoders = models, encoders
        # What visitors of the page can be offered: the server's own tools, and MCP servers by their names.
        own, servers = (list(DEFINITIONS), list(hosted.servers)) if hosted is not None else ([], [])
        self._offer = {"browser": browser, "tools": own, "mcp_servers": servers}

    def add_to(self, app: App) -> None:
        """Give `app` the routes."""
        app.add_endpoint("/card", self.card, described=False)
        app.add_endpoint("/v1/models", self.models)
        app.add_endpoint("/v1/models/{name:path}", self.model)

    async def card(self) -> Response:
        """The model card of the first model."""
        about = self._models.about(None)
        if about.card is None:
            raise ApiError(404, f"{about.name} has no model card")
        return Response(about.card, media_type="text/markdown; charset=utf-8")

    async def models(self) -> dict[str, Any]:
        """What is served, by each of its names."""
        abouts = self._models.abouts
        data = [_description(about, name, self._offer) for about in abouts for name in about.names]
        data += [_description(one.adapted(name), name, self._offer) for one in abouts for name in one.adapters]
        data += map(_description_of_encoder, self._encoders)
        return {"object": "list", "data": data}

    async def model(self, name: str) -> dict[str, Any]:
        """A model, by one of its names; all of them where there is none, as behind a last slash."""
        if not name:
            return await self.models()
        for encoder in self._encoders:
            if encoder.name == name:
                return _description_of_encoder(encoder)
        return _description(self._models.about(name), name, self._offer)


def _description(about: About, name: str, offer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": about.created,
        "owned_by": "ayllu",
        # As vLLM tells of an adapter.
        **({"parent": about.base} if about.base is not None else {}),
        "meta": {
            "parameters": about.parameters,
            "context": about.context,
            "version": about.version,
            "licence": about.licence,
            "digest": about.digest,
            "bits_per_byte": about.bits_per_byte,
            "temperature": about.sampling.temperature,
            "card": about.card is not None,
            **offer,
        },
    }


def _description_of_encoder(encoder: Embedder) -> dict[str, Any]:
    return {
        "id": encoder.name,
        "object": "model",
        "created": encoder.created,
        "owned_by": "ayllu",
        "meta": {"context": encoder.longest, "dimensions": encoder.dimensions, "licence": encoder.licence},
    }
