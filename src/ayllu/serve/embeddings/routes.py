"""`POST /v1/embeddings` and `POST /v1/rerank`."""

from __future__ import annotations

import asyncio
import base64
import logging
import uuid
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from ayllu.serve.embeddings.body import EmbeddingBody, RerankBody
from ayllu.serve.embeddings.embedder import Embedder
from ayllu.serve.embeddings.pooling import Vectors
from ayllu.serve.embeddings.queue import EmbedderQueue, Embedders
from ayllu.serve.errors import BUSY, FAILED, ApiError
from ayllu.serve.limits import Limits
from ayllu.serve.queueing.turns import QueueFull
from ayllu.serve.routing.app import App

MOST_TOKENS = 300_000
"""Tokens of one request, as in OpenAI's API."""
log = logging.getLogger(__name__)


class Embeddings:
    """Both routes."""

    def __init__(self, embedders: Embedders, limits: Limits) -> None:
        self._embedders, self._limits = embedders, limits

    def add_to(self, app: App) -> None:
        """Give `app` the routes; rerank has three addresses, since vLLM's, Jina's and Cohere's clients differ."""
        app.add_endpoint("/v1/embeddings", self.embeddings, methods=["POST"])
        for path in ("/v1/rerank", "/v2/rerank", "/rerank"):
            app.add_endpoint(path, self.rerank, methods=["POST"], described=path.startswith("/v1"))

    async def embeddings(self, body: EmbeddingBody, http: Request) -> dict[str, Any]:
        """Texts as vectors."""
        queue = await self._embedders.find(body.model)
        _check_dimensions(queue.embedder, body.dimensions)
        texts = await self._ids(queue, body.input)
        vectors = await self._embed(queue, texts, http, body.user)
        data = [
            {
                "object": "embedding",
                "index": i,
                "embedding": _as_base64(one) if body.encoding_format == "base64" else one.tolist(),
            }
            for i, one in enumerate(vectors)
        ]
        used = sum(map(len, texts))
        usage = {"prompt_tokens": used, "total_tokens": used}
        return {"object": "list", "data": data, "model": queue.embedder.name, "usage": usage}

    async def rerank(self, body: RerankBody, http: Request) -> dict[str, Any]:
        """Documents in the order of their nearness to a query: (1 + cosine) / 2 of their vectors.

        That is what an embedder says of them apart; a cross-encoder, which would read both together, is not here.
        """
        queue, documents = await self._embedders.find(body.model), body.texts
        texts = await self._ids(queue, [body.query, *documents], param="documents")
        vectors = await self._embed(queue, texts, http, body.user)
        import numpy as np  # nobody should wait for it where a server starts

        scores = (1 + np.clip(vectors[1:] @ vectors[0], -1, 1)) / 2
        best = sorted(range(len(documents)), key=lambda i: (-float(scores[i]), i))[: body.top_n]
        results = [
            {
                "index": i,
                "relevance_score": float(scores[i]),
                **({"document": {"text": documents[i]}} if body.return_documents else {}),
            }
            for i in best
        ]
        used = sum(map(len, texts))
        usage = {"prompt_tokens": used, "total_tokens": used}
        return {"id": f"rerank-{uuid.uuid4().hex}", "model": queue.embedder.name, "usage": usage, "results": results}

    async def _ids(
        self, queue: EmbedderQueue, given: Sequence[str] | Sequence[list[int]], *, param: str = "input"
    ) -> list[list[int]]:
        """Texts in ids; ApiError for those that are too long, or no ids of this model's."""
        embedder = queue.embedder
        plain = [one for one in given if isinstance(one, str)]
        texts = await queue.encode(plain) if plain else [one for one in given if not isinstance(one, str)]
        for number, ids in enumerate(texts):
            if len(ids) > embedder.longest:
                raise ApiError(
                    400,
                    f"text {number} has {len(ids)} tokens, but this model's maximum context length is "
                    f"{embedder.longest} tokens; cut it",
                    param=param,
                    code="context_length_exceeded",
                )
            if not all(0 <= i < embedder.vocabulary for i in ids):
                raise ApiError(400, f"{param}: ids must be from 0 to {embedder.vocabulary - 1}", param=param)
        if (total := sum(map(len, texts))) > MOST_TOKENS:
            raise ApiError(400, f"{param} has {total:,} tokens; give at most {MOST_TOKENS:,} at once", param=param)
        return texts

    async def _embed(self, queue: EmbedderQueue, texts: list[list[int]], http: Request, user: str | None) -> Vectors:
        client = f"{http.client.host if http.client else ''} {user or ''}"
        work = asyncio.ensure_future(queue.embed(texts, client=client, seconds=self._limits.answer_seconds))
        left = asyncio.ensure_future(_disconnected(http))
        try:
            await asyncio.wait([work, left], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ApiError(499, "the client has left")
            return work.result()
        except (QueueFull, TimeoutError):
            raise ApiError(503, BUSY) from None
        except ApiError:
            raise
        except Exception:
            log.exception("an embedding failed")
            raise ApiError(500, FAILED) from None
        finally:
            for task in (work, left):
                task.cancel()
            await asyncio.gather(work, left, return_exceptions=True)


async def _disconnected(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _check_dimensions(embedder: Embedder, asked: int | None) -> None:
    if asked is not None and asked != embedder.dimensions:
        raise ApiError(
            400,
            f"{embedder.name} gives {embedder.dimensions} dimensions and was not trained to give {asked}; leave "
            "dimensions out",
            param="dimensions",
            code="invalid_value",
        )


def _as_base64(vector: Vectors) -> str:
    """Little-endian float32 numbers, which is what OpenAI's client asks for and reads."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
