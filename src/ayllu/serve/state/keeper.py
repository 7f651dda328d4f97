"""The store as the gateway's loop uses it: in threads, with a word to the client where it fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from ayllu.serve.errors import ApiError
from ayllu.serve.state.database import StateUnavailable
from ayllu.serve.state.items import Item
from ayllu.serve.state.store import ALIVE_SECONDS, KeptResponse, Store

log = logging.getLogger("uvicorn.error")

THREADS = 4
EXPIRE_SECONDS = 3600
P = ParamSpec("P")
Made = TypeVar("Made")

NOTHING_KEPT = "this server keeps nothing (--state none)"


class Keeper:
    """The store of a server; `store` is None where nothing is kept."""

    def __init__(self, store: Store | None, *, beat_seconds: float = ALIVE_SECONDS / 6) -> None:
        self._store = store
        self._beat = beat_seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="state")
        self.server = uuid.uuid4().hex
        """This server's name beside others of the same state."""

    @property
    def keeps(self) -> bool:
        """Whether anything is kept."""
        return self._store is not None

    def store(self, param: str | None = None) -> Store:
        """The store; ApiError where nothing is kept."""
        if self._store is None:
            raise ApiError(400, f"{param or 'this'} needs what was kept, and {NOTHING_KEPT}", param=param)
        return self._store

    async def run(self, work: Callable[P, Made], *args: P.args, **options: P.kwargs) -> Made:
        """Do some work of the store in a thread; ApiError where the database fails."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **options))
        except StateUnavailable as error:
            log.error("the state cannot be used: %s", error)
            raise ApiError(503, "the state of this server cannot be used; its log says why") from None

    async def watch(
        self,
        computing: Callable[[], Collection[str]],
        stop: Callable[[str], None],
        take: Callable[[KeptResponse, list[Item]], Awaitable[None]],
    ) -> None:
        """For ever: say that this server lives, `stop` what nobody wants, `take` over what others left, forget the old.

        While nothing is computed nothing is said, so that a server at rest writes nothing.
        """
        if self._store is None:
            return
        loop, forgotten = asyncio.get_running_loop(), -float(EXPIRE_SECONDS)
        while True:
            with contextlib.suppress(ApiError):  # said in the log; the next round may do better
                for kept, given in await self.run(self._store.adopt, self.server):
                    await take(kept, given)
                if names := computing():
                    for name in await self.run(self._store.beat, self.server, names):
                        stop(name)
                if loop.time() - forgotten >= EXPIRE_SECONDS:
                    await self.run(self._store.expire)
                    forgotten = loop.time()
            await asyncio.sleep(self._beat)

    async def leave(self) -> None:
        """Let others take over what is under way."""
        if self._store is not None:
            with contextlib.suppress(ApiError):
                await self.run(self._store.leave, self.server)

    def close(self) -> None:
        """End the threads; the store stays open for whoever opened it."""
        self._threads.shutdown(wait=True)
