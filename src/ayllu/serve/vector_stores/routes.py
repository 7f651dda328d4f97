"""`/v1/vector_stores`: stores, their files, batches of files, and search."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import Field
from starlette.requests import Request

from ayllu.serve.embeddings.queue import EmbedderQueue, Embedders
from ayllu.serve.errors import BUSY, ApiError
from ayllu.serve.files.routes import Files, no_file, owner, page, stored
from ayllu.serve.files.store import FileStore
from ayllu.serve.queueing.turns import QueueFull
from ayllu.serve.routing.app import App
from ayllu.serve.vector_stores.body import (
    AddBatch,
    AddFile,
    CreateStore,
    ModifyFile,
    ModifyStore,
    RankingOptions,
    SearchBody,
    lengths,
)
from ayllu.serve.vector_stores.catalogue import Catalogue, Cut, NewFile, Status, StoreFile, VectorStore
from ayllu.serve.vector_stores.layout import batch_as_json, file_as_json, store_as_json

if TYPE_CHECKING:
    from ayllu.serve.retrieval.index import Hit
    from ayllu.serve.vector_stores.ingest import Indexes, Ingest

Limit = Annotated[int, Field(ge=1, le=100)]
Order = Literal["asc", "desc"]
Given = TypeVar("Given")


class VectorStores:
    """The routes. What is kept lies in `folder`; the files are those of `files`."""

    def __init__(self, folder: Path | None, files: Files, embedders: Embedders) -> None:
        self._folder, self._files, self._embedders = folder, files, embedders
        self._opened: tuple[Catalogue, Indexes, Ingest] | None = None
        self._lock = threading.Lock()
        files.gone = self._forget

    def add_to(self, app: App) -> None:
        """Give `app` the routes."""
        one = "/v1/vector_stores/{store_id}"
        file, batch = f"{one}/files/{{file_id}}", f"{one}/file_batches/{{batch_id}}"
        for method, path, work in (
            ("POST", "/v1/vector_stores", self.create),
            ("GET", "/v1/vector_stores", self.listed),
            ("GET", one, self.retrieve),
            ("POST", one, self.modify),
            ("DELETE", one, self.delete),
            ("POST", f"{one}/search", self.search),
            ("POST", f"{one}/files", self.add_file),
            ("GET", f"{one}/files", self.files),
            ("GET", file, self.file),
            ("POST", file, self.modify_file),
            ("DELETE", file, self.remove_file),
            ("GET", f"{file}/content", self.content),
            ("POST", f"{one}/file_batches", self.add_batch),
            ("GET", batch, self.batch),
            ("POST", f"{batch}/cancel", self.cancel),
            ("GET", f"{batch}/files", self.batch_files),
        ):
            app.add_endpoint(path, work, methods=[method])

    async def create(self, body: CreateStore, http: Request) -> dict[str, Any]:
        """A new store, embedded by the first embedder of this server."""
        entries = [AddFile(file_id=one, chunking_strategy=body.chunking_strategy) for one in body.file_ids or ()]
        new = await self._new(http, entries)
        embedder = (await self._embedders.find(None)).embedder
        store = await self._use(
            lambda catalogue: catalogue.create(
                owner(http),
                name=body.name or "",
                description=body.description,
                metadata=body.metadata or {},
                embedder=embedder.name,
                fingerprint=embedder.fingerprint,
                dimensions=embedder.dimensions,
                expires_days=body.expires_after.days if body.expires_after is not None else None,
                files=new,
            )
        )
        return await self._as_json(store)

    async def listed(
        self,
        http: Request,
        limit: Limit = 20,
        order: Order = "desc",
        after: str | None = None,
        before: str | None = None,
    ) -> dict[str, Any]:
        """The stores of whoever asks."""
        cut = Cut(limit=limit, oldest_first=order == "asc", after=after, before=before)
        stores, more = await self._use(_listed(lambda catalogue: catalogue.stores_page(owner(http), cut), cut))
        return page([await self._as_json(store) for store in stores], more)

    async def retrieve(self, store_id: str, http: Request) -> dict[str, Any]:
        """A store."""
        return await self._as_json(await self._find(http, store_id))

    async def modify(self, store_id: str, body: ModifyStore, http: Request) -> dict[str, Any]:
        """Another name, end or metadata."""
        store = await self._find(http, store_id)
        changes: dict[str, Any] = {}
        if "name" in body.model_fields_set:
            changes["name"] = body.name or ""
        if "metadata" in body.model_fields_set:
            changes["metadata"] = body.metadata or {}
        if "expires_after" in body.model_fields_set:
            changes["expires_days"] = body.expires_after.days if body.expires_after is not None else None
        return await self._as_json(await self._use(lambda catalogue: catalogue.change(store, **changes)))

    async def delete(self, store_id: str, http: Request) -> dict[str, Any]:
        """Delete a store; its files stay."""
        await self._find(http, store_id)
        await self._use(lambda catalogue: catalogue.delete(store_id))
        _, indexes, _ = await self._open()
        await asyncio.to_thread(indexes.delete, store_id)
        return {"id": store_id, "object": "vector_store.deleted", "deleted": True}

    async def search(self, store_id: str, body: SearchBody, http: Request) -> dict[str, Any]:
        """The best passages for some queries."""
        store = await self._usable(http, store_id)
        files = {file.id: file for file in await self._files_of(store_id) if file.status == "completed"}
        if body.filters is not None:
            files = {name: file for name, file in files.items() if body.filters.holds(file.attributes)}
        hits = await self._hits(store, body, list(files))
        await self._use(lambda catalogue: catalogue.change(store, last_active_at=int(time.time())))
        data = [
            {
                "file_id": hit.document,
                "filename": files[hit.document].filename,
                "score": hit.score,
                "attributes": files[hit.document].attributes,
                "content": [{"type": "text", "text": hit.text}],
            }
            for hit in hits
            if hit.document in files
        ]
        return {
            "object": "vector_store.search_results.page",
            "search_query": body.queries,
            "data": data,
            "has_more": False,
            "next_page": None,
        }

    async def passages(self, owner: str, store_id: str, body: SearchBody) -> list[dict[str, Any]]:
        """The best passages in a store of an owner, for tools of the server: `data` of `search`."""
        http = Request({"type": "http", "state": {"owner": owner}})  # all that a request says of whose stores these are
        found: list[dict[str, Any]] = (await self.search(store_id, body, http))["data"]
        return found

    async def check(self, owner: str, store_id: str) -> None:
        """ApiError where an owner has no such store, or it cannot be searched."""
        await self._usable(Request({"type": "http", "state": {"owner": owner}}), store_id)

    async def add_file(self, store_id: str, body: AddFile, http: Request) -> dict[str, Any]:
        """Put a file into a store."""
        await self._usable(http, store_id)
        new = await self._new(http, [body])
        await self._use(lambda catalogue: catalogue.add(store_id, new))
        return file_as_json(await self._file(store_id, body.file_id))

    async def files(
        self,
        store_id: str,
        http: Request,
        limit: Limit = 20,
        order: Order = "desc",
        after: str | None = None,
        before: str | None = None,
        filter: Status | None = None,
    ) -> dict[str, Any]:
        """The files of a store."""
        await self._find(http, store_id)
        cut = Cut(limit=limit, oldest_first=order == "asc", after=after, before=before)
        return await self._files_page(store_id, cut, status=filter)

    async def file(self, store_id: str, file_id: str, http: Request) -> dict[str, Any]:
        """A file of a store."""
        await self._find(http, store_id)
        return file_as_json(await self._file(store_id, file_id))

    async def modify_file(self, store_id: str, file_id: str, body: ModifyFile, http: Request) -> dict[str, Any]:
        """Other attributes."""
        await self._find(http, store_id)
        await self._file(store_id, file_id)
        await self._use(lambda catalogue: catalogue.set_attributes(store_id, file_id, body.attributes or {}))
        return file_as_json(await self._file(store_id, file_id))

    async def remove_file(self, store_id: str, file_id: str, http: Request) -> dict[str, Any]:
        """Take a file out of a store; the file itself stays."""
        store = await self._find(http, store_id)
        await self._file(store_id, file_id)
        _, indexes, _ = await self._open()

        def remove(catalogue: Catalogue) -> None:
            catalogue.remove(store_id, file_id)
            indexes.of(store).remove(file_id)

        await self._use(remove)
        return {"id": file_id, "object": "vector_store.file.deleted", "deleted": True}

    async def content(self, store_id: str, file_id: str, http: Request) -> dict[str, Any]:
        """The text of a file as it was cut."""
        store = await self._find(http, store_id)
        await self._file(store_id, file_id)
        _, indexes, _ = await self._open()
        texts = await asyncio.to_thread(lambda: indexes.of(store).chunks(file_id))
        return {
            "object": "vector_store.file_content.page",
            "data": [{"type": "text", "text": text} for text in texts],
            "has_more": False,
            "next_page": None,
        }

    async def add_batch(self, store_id: str, body: AddBatch, http: Request) -> dict[str, Any]:
        """Put many files into a store."""
        await self._usable(http, store_id)
        new = await self._new(http, body.entries())
        batch = await self._use(lambda catalogue: catalogue.add(store_id, new, batch=True))
        return await self._batch(store_id, batch or "")

    async def batch(self, store_id: str, batch_id: str, http: Request) -> dict[str, Any]:
        """How far a batch is."""
        await self._find(http, store_id)
        return await self._batch(store_id, batch_id)

    async def cancel(self, store_id: str, batch_id: str, http: Request) -> dict[str, Any]:
        """Leave what of a batch was not read yet."""
        await self._find(http, store_id)
        await self._batch(store_id, batch_id)
        await self._use(lambda catalogue: catalogue.cancel(batch_id))
        return await self._batch(store_id, batch_id)

    async def batch_files(
        self,
        store_id: str,
        batch_id: str,
        http: Request,
        limit: Limit = 20,
        order: Order = "desc",
        after: str | None = None,
        before: str | None = None,
        filter: Status | None = None,
    ) -> dict[str, Any]:
        """The files of a batch."""
        await self._find(http, store_id)
        await self._batch(store_id, batch_id)
        cut = Cut(limit=limit, oldest_first=order == "asc", after=after, before=before)
        return await self._files_page(store_id, cut, batch=batch_id, status=filter)

    async def _hits(self, store: VectorStore, body: SearchBody, files: list[str]) -> list[Hit]:
        from ayllu.serve.vector_stores.ingest import query_vector  # which imports numpy, as `_parts` does

        queue = self._embedder(store)
        _, indexes, _ = await self._open()
        weights = _weights(body.ranking_options)
        best: dict[tuple[str, int], Hit] = {}
        for query in body.queries:
            try:
                vector = await query_vector(query, queue)
            except (QueueFull, TimeoutError):
                raise ApiError(503, BUSY) from None
            with stored():
                search = partial(indexes.of(store).search, query, vector, most=body.max_num_results, documents=files)
                found = await asyncio.to_thread(search, **weights)
            for hit in found:
                held = best.get((hit.document, hit.number))
                if held is None or hit.score > held.score:
                    best[hit.document, hit.number] = hit
        hits = [hit for hit in best.values() if hit.score >= body.ranking_options.score_threshold]
        return sorted(hits, key=lambda hit: (-hit.score, hit.document, hit.number))[: body.max_num_results]

    def _embedder(self, store: VectorStore) -> EmbedderQueue:
        for queue in self._embedders.queues:
            if (queue.embedder.name, queue.embedder.fingerprint) == (store.embedder, store.fingerprint):
                return queue
        raise ApiError(
            409,
            f"this store was embedded by {store.embedder}, which this server does not have as it was then; serve it "
            "too, or make the store anew",
            code="embedding_model_missing",
        )

    async def _new(self, http: Request, entries: Sequence[AddFile]) -> list[NewFile]:
        """Files to be read; ApiError where one of them is none of the owner's."""
        new = []
        for entry in entries:
            file = await self._files.find(http, entry.file_id)
            how = lengths(entry.chunking_strategy)
            new.append(
                NewFile(
                    id=file.id,
                    filename=file.filename,
                    attributes=entry.attributes or {},
                    size=how.max_chunk_size_tokens,
                    overlap=how.chunk_overlap_tokens,
                )
            )
        return new

    async def _find(self, http: Request, store_id: str) -> VectorStore:
        found = await self._use(lambda catalogue: catalogue.find(store_id, owner(http)))
        if found is None:
            raise ApiError(404, f"there is no vector store {store_id[:100]!r}", param="vector_store_id")
        return found

    async def _usable(self, http: Request, store_id: str) -> VectorStore:
        store = await self._find(http, store_id)
        if store.expired:
            raise ApiError(400, "this vector store has expired; make it anew", code="vector_store_expired")
        self._embedder(store)
        return store

    async def _files_page(self, store_id: str, cut: Cut, **which: Any) -> dict[str, Any]:
        """A page of the files of a store."""
        files, more = await self._use(_listed(lambda catalogue: catalogue.files_page(store_id, cut, **which), cut))
        return page([file_as_json(file) for file in files], more)

    async def _files_of(self, store_id: str) -> list[StoreFile]:
        return await self._use(lambda catalogue: catalogue.files(store_id))

    async def _file(self, store_id: str, file_id: str) -> StoreFile:
        found = await self._use(lambda catalogue: catalogue.file(store_id, file_id))
        if found is None:
            raise no_file(file_id)
        return found

    async def _batch(self, store_id: str, batch_id: str) -> dict[str, Any]:
        known = await self._use(lambda catalogue: catalogue.batch(store_id, batch_id))
        if known is None:
            raise ApiError(404, f"there is no batch {batch_id[:100]!r}", param="batch_id")
        files = await self._use(lambda catalogue: catalogue.files(store_id, batch=batch_id))
        return batch_as_json(batch_id, store_id, *known, files)

    async def _as_json(self, store: VectorStore) -> dict[str, Any]:
        return store_as_json(store, await self._files_of(store.id))

    async def _use(self, work: Callable[[Catalogue], Given]) -> Given:
        """What `work` makes of the catalogue, in a thread; whatever waits to be read is read from then on."""
        catalogue, _, ingest = await self._open()
        with stored():
            made = await asyncio.to_thread(work, catalogue)
        ingest.wake()
        return made

    async def _open(self) -> tuple[Catalogue, Indexes, Ingest]:
        with stored():
            files = await self._files.store()
            return self._parts(files)

    def _parts(self, files: FileStore) -> tuple[Catalogue, Indexes, Ingest]:
        with self._lock:
            if self._opened is None:
                from ayllu.serve.vector_stores.ingest import Indexes, Ingest

                assert self._folder is not None  # there are no files without it
                catalogue, indexes = Catalogue(self._folder / "catalogue.sqlite"), Indexes(self._folder)
                self._opened = catalogue, indexes, Ingest(catalogue, indexes, files, self._embedder)
            return self._opened

    def _forget(self, files: FileStore, file_id: str) -> None:
        """A file is no more: nobody finds it, and then nothing is left of it."""
        catalogue, indexes, ingest = self._parts(files)
        for store_id in catalogue.stores_with(file_id):
            if (found := catalogue.anyones(store_id)) is not None:
                catalogue.remove(store_id, file_id)
                indexes.of(found[0]).remove(file_id)
        if self._files.loop is not None:
            self._files.loop.call_soon_threadsafe(ingest.wake)


def _listed(work: Callable[[Catalogue], Given], cut: Cut) -> Callable[[Catalogue], Given]:
    """`work`, which cuts a list; ApiError where a place of `cut` is not in it."""

    def listed(catalogue: Catalogue) -> Given:
        try:
            return work(catalogue)
        except KeyError as error:
            param = "after" if error.args == (cut.after,) else "before"
            raise ApiError(404, f"{param} is nothing of this list", param=param) from None

    return listed


def _weights(options: RankingOptions) -> dict[str, float]:
    if options.ranker == "none":
        return {"word_weight": 0.0, "vector_weight": 1.0}
    if (hybrid := options.hybrid_search) is not None:
        return {"word_weight": hybrid.text_weight, "vector_weight": hybrid.embedding_weight}
    return {}
