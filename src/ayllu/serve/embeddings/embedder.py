"""What turns texts into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ayllu.serve.embeddings.pooling import Vectors


class Embedder(Protocol):
    """Gives texts vectors of length 1: the nearer two are in meaning, the larger their dot product."""

    name: str
    aliases: tuple[str, ...]
    created: int
    """Seconds since 1970."""
    licence: str | None
    longest: int
    """Tokens of one text, those around it included."""
    fingerprint: str
    """Of its weights: vectors of different ones cannot be compared."""
    vocabulary: int
    """Ids are below this."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    def encode(self, text: str) -> list[int]:
        """The ids of a text as the model wants them, with what stands around a text."""
        ...

    def starts(self, text: str) -> list[int]:
        """Where in `text` each of its tokens begins, in characters; those around it are left out."""
        ...

    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        """The vectors (N, dimensions) of N lists of ids, each of 1 to `longest`."""
        ...


@runtime_checkable
class EmbedsIds(Protocol):
    """An engine that gives its hidden states, so that its weights need not be loaded again beside it."""

    def embed(self, ids: Sequence[int]) -> Vectors:
        """The mean (D,) of the states of `ids`, a BOS before others left out, of length 1."""
        ...
