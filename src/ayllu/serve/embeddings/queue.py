"""What a server embeds with, and whose turn it is: a piece of a request each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

from ayllu.serve.access.request import current_line, spend_tokens
from ayllu.serve.embeddings.embedder import Embedder
from ayllu.serve.embeddings.hidden_states import HiddenStates
from ayllu.serve.embeddings.pooling import Vectors
from ayllu.serve.errors import ApiError
from ayllu.serve.queueing.turns import Turns
from ayllu.serve.served import Models, Served

PIECE_TOKENS = 2048
"""What is computed before somebody else has a turn; one text may have more."""
PIECE_TEXTS = 16


class EmbedderQueue:
    """Embeds for asynchronous callers, who take turns after each piece of their texts."""

    def __init__(self, embedder: Embedder, *, longest: int = 64) -> None:
        self.embedder = embedder
        self._turns = Turns(1, longest=longest)
        # One for the vectors, and one for what comes before them, so that no long text holds up the vectors.
        self._computing = ThreadPoolExecutor(1, thread_name_prefix="embed")
        self._preparing = ThreadPoolExecutor(1, thread_name_prefix="embed-prepare")

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of texts."""

        def work() -> list[list[int]]:
            return [self.embedder.encode(text) for text in texts]

        return await asyncio.get_running_loop().run_in_executor(self._preparing, work)

    async def embed(self, texts: Sequence[Sequence[int]], *, client: str = "", seconds: float = 600) -> Vectors:
        """The vectors (N, D) of texts in ids, in their order.

        QueueFull when too many of `client` wait; TimeoutError when they are not there within `seconds`. Cancelling the
        task ends the computing after the piece that is under way. Where the request came with a key, the turns and the
        tokens are the key's.
        """
        client = current_line(client)
        spend_tokens(sum(map(len, texts)))
        import numpy as np

        found = np.empty((len(texts), self.embedder.dimensions), np.float32)
        async with asyncio.timeout(seconds):
            for some in _pieces(texts):
                await self._turns.take(client)
                work = asyncio.get_running_loop().run_in_executor(
                    self._computing, self.embedder.embed, [texts[i] for i in some]
                )
                # The turn ends when the thread is done with the piece, not when the caller has left.
                work.add_done_callback(lambda _: self._turns.give(client))
                found[some] = await asyncio.shield(work)
        return found


class Embedders:
    """What a server embeds with, by name: encoders, and the hidden states of `models`, which are loaded for it."""

    def __init__(self, *encoders: Embedder, models: Models) -> None:
        self._queues = [EmbedderQueue(one) for one in encoders]
        self._models = models
        self._of_models: WeakKeyDictionary[Served, EmbedderQueue] = WeakKeyDictionary()

    @property
    def queues(self) -> list[EmbedderQueue]:
        """Those of encoders, and of models that are loaded now."""
        return [*self._queues, *map(self._of_model, self._models.served)]

    async def find(self, name: str | None) -> EmbedderQueue:
        """The one of that name, or the first where none is asked for; ApiError where there is none."""
        for queue in self._queues:
            if name is None or name in (queue.embedder.name, *queue.embedder.aliases):
                return queue
        if name is not None and name not in self._models.names:
            known = [*(queue.embedder.name for queue in self._queues), *self._models.names]
            raise ApiError(
                404,
                f"the model {name[:100]!r} is not served here; this server embeds by {' or '.join(map(repr, known))}",
                param="model",
                code="model_not_found",
            )
        if (base := self._models.about(name).base) is not None:
            raise ApiError(400, f"{name} is an adapter, and embeds nothing; name its base {base}", param="model")
        return self._of_model(await self._models.find(name))

    def _of_model(self, served: Served) -> EmbedderQueue:
        if served not in self._of_models:
            self._of_models[served] = EmbedderQueue(HiddenStates(served))
        return self._of_models[served]


def _pieces(texts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Which texts are computed together: those of like length, so that little padding is."""
    some: list[int] = []
    for i in sorted(range(len(texts)), key=lambda i: len(texts[i])):
        if some and ((len(some) + 1) * len(texts[i]) > PIECE_TOKENS or len(some) == PIECE_TEXTS):
            yield some
            some = []
        some.append(i)
    if some:
        yield some
