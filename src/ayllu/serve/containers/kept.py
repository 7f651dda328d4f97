"""What the routes of containers ask of whoever keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

WORK = "/mnt/data"
"""Where OpenAI's API shows the work folder; programs here find the files in their current folder."""


@dataclass(frozen=True, kw_only=True)
class ContainerState:
    """A container as it is now; times in seconds since 1970."""

    id: str
    name: str
    created: int
    active: int
    """When it was last used."""
    minutes: int
    """How long it stays after that."""


@dataclass(frozen=True, kw_only=True)
class ContainerFile:
    """A file in a container."""

    id: str
    path: str
    """Below the work folder."""
    size: int
    created: int
    by_user: bool
    """Whether it was put there; others were written by programs."""


class Containers(Protocol):
    """Keeps containers of many owners. Everything but `create` and `all` raises KeyError where there is none."""

    def create(self, owner: str, name: str, minutes: int, files: Mapping[str, bytes]) -> ContainerState:
        """Make one; ValueError for a name of a file that is no plain path."""
        ...

    def all(self, owner: str) -> Sequence[ContainerState]:
        """Those of an owner, the oldest first."""
        ...

    def state(self, owner: str, name: str) -> ContainerState:
        """One of them."""
        ...

    def delete(self, owner: str, name: str) -> None:
        """End it."""
        ...

    def files(self, owner: str, name: str) -> Sequence[ContainerFile]:
        """The files in it, the oldest first."""
        ...

    def put(self, owner: str, name: str, path: str, content: bytes) -> ContainerFile:
        """Put a file into it; ValueError for what is no plain path, or is too much."""
        ...

    def content(self, owner: str, name: str, path: str) -> bytes:
        """The bytes of a file."""
        ...

    async def remove(self, owner: str, name: str, path: str) -> None:
        """Take a file out of it."""
        ...
