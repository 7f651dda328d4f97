"""Files of vector stores are read and indexed in turn, and wiped when they are taken out; a kill begins that anew."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ayllu.serve.embeddings.pooling import unit
from ayllu.serve.embeddings.queue import EmbedderQueue
from ayllu.serve.errors import ApiError
from ayllu.serve.files.store import FileStore
from ayllu.serve.retrieval.chunks import chunk, token_starts, windows
from ayllu.serve.retrieval.extract import NoText, extract_text
from ayllu.serve.retrieval.index import Index, Passage
from ayllu.serve.vector_stores.catalogue import Catalogue, StoreFile, VectorStore

CLIENT = "vector stores"
"""Whose turn it is at the embedder: all reading is one client, so that those who wait for an answer go between."""
MOST_OPEN = 32
"""Indexes that are held open, so that a client's many stores take no more memory and files with each."""
SPARE = 8
"""A window is shorter than the longest text by one part in so many: a word that is cut has more tokens than it had."""
log = logging.getLogger(__name__)


class Indexes:
    """The indexes of vector stores, opened when they are needed: each holds its vectors and some open files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: OrderedDict[str, Index] = OrderedDict()
        self._guard = threading.Lock()

    def of(self, store: VectorStore) -> Index:
        """The index of a store; one that was not asked for of late is held by whoever still uses it alone."""
        with self._guard:
            index = self._open.get(store.id)
            if index is None:
                path = self._folder / f"{store.id}.sqlite"
                index = Index(path, embedder=store.fingerprint, dimensions=store.dimensions)
                self._open[store.id] = index
            self._open.move_to_end(store.id)
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
            return index

    def delete(self, store: str) -> None:
        """Delete the index of a store."""
        with self._guard:
            index = self._open.pop(store, None)
        if index is not None:
            index.close()
        for ending in ("", "-wal", "-shm"):
            (self._folder / f"{store}.sqlite{ending}").unlink(missing_ok=True)


class Ingest:
    """Reads files that wait for it, as long as there are any; then wipes what was taken out meanwhile."""

    def __init__(
        self, catalogue: Catalogue, indexes: Indexes, files: FileStore, embedder: Callable[[VectorStore], EmbedderQueue]
    ) -> None:
        self._catalogue, self._indexes, self._files, self._embedder = catalogue, indexes, files, embedder
        self._task: asyncio.Task[None] | None = None
        self._woken = False

    def wake(self) -> None:
        """Begin, or look once more when all that is known is done."""
        self._woken = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._woken:
            self._woken = False
            await self._read_all()
            try:
                await asyncio.to_thread(self._wipe_all)
            except Exception:
                log.exception("what was taken out of a vector store could not be wiped; it is tried again")

    def _wipe_all(self) -> None:
        while (left := self._catalogue.next_to_wipe()) is not None:
            store, files = left
            if (found := self._catalogue.anyones(store)) is not None:
                index = self._indexes.of(found[0])
                for file in files:
                    # It may have been put in again, and read, since; then its words belong there.
                    if self._catalogue.file(store, file) is None:
                        index.remove(file)
                index.wipe()
            self._catalogue.wiped(store, files)

    async def _read_all(self) -> None:
        while (file := await asyncio.to_thread(self._catalogue.next_to_read)) is not None:
            try:
                await self._read(file)
            except NoText as error:
                self._fail(file, "unsupported_file", str(error))
            except ApiError as error:
                self._fail(file, "server_error", error.message)
            except Exception:
                log.exception("a file of a vector store could not be indexed")
                self._fail(file, "server_error", "the server failed; its log says where")

    def _fail(self, file: StoreFile, code: str, message: str) -> None:
        self._catalogue.finish(file, "failed", error={"code": code, "message": message})

    async def _read(self, file: StoreFile) -> None:
        found = self._catalogue.anyones(file.store)
        stored = self._files.find(file.id, found[1]) if found is not None else None
        if found is None or stored is None:
            self._fail(file, "invalid_file", "the file was deleted before it was read")
            return
        store = found[0]
        queue = self._embedder(store)
        text = await extract_text(self._files.path(stored), stored.filename)
        passages = await passages_of(text, queue, size=file.size, overlap=file.overlap)
        index = self._indexes.of(store)
        used = await asyncio.to_thread(index.add, file.id, passages)
        if not self._catalogue.finish(file, "completed", usage_bytes=used):
            await asyncio.to_thread(index.remove, file.id)


async def passages_of(text: str, queue: EmbedderQueue, *, size: int, overlap: int) -> list[Passage]:
    """The chunks of a text with the vectors of their parts, for a chunk may be longer than what the embedder reads."""
    embedder = queue.embedder
    around = len(embedder.encode(""))
    most = max(1, (embedder.longest - around) * (SPARE - 1) // SPARE)

    def cut() -> tuple[list[str], list[list[list[int]]]]:
        chunks = chunk(text, token_starts(text, embedder.starts), size=size, overlap=overlap)
        chunks = [one for one in chunks if one.strip()]
        parts = [
            [embedder.encode(part)[: embedder.longest] for part in windows(one, embedder.starts(one), most=most)]
            for one in chunks
        ]
        return chunks, parts

    chunks, parts = await asyncio.to_thread(cut)
    passages = []
    for one, ids in zip(chunks, parts, strict=True):
        passages.append(Passage(text=one, vectors=await queue.embed(ids, client=CLIENT)))
    return passages


async def query_vector(query: str, queue: EmbedderQueue) -> np.ndarray:
    """The vector (D,) of a query of any length."""
    embedder = queue.embedder
    most = max(1, (embedder.longest - len(embedder.encode(""))) * (SPARE - 1) // SPARE)
    parts = windows(query, embedder.starts(query), most=most)
    ids = await queue.encode(parts)
    vectors = await queue.embed([one[: embedder.longest] for one in ids], client=f"{CLIENT}: search")
    return unit(vectors.mean(0))
