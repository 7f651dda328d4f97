"""What the loop asks of a model: one turn of a conversation that is kept as Responses items."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ayllu.serve.state.items import Item
from ayllu.text.tool_calls import Tool


class ModelError(Exception):
    """The model gave no turn; the message is one sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A conversation so far, and what is wanted of the next turn."""

    items: Sequence[Item]
    instructions: str = ""
    tools: Sequence[Tool] = ()
    choice: Literal["auto", "none", "required"] = "auto"
    most: int = 1024
    """Tokens of the turn."""
    schema: Mapping[str, Any] | None = None
    """What the words must match, where no tools are offered."""
    temperature: float | None = None


@dataclass(frozen=True, kw_only=True)
class Words:
    """Some words of the turn."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Turned:
    """The turn, whole; the last that a driver gives."""

    items: Sequence[Item] = ()
    """Messages and function calls."""
    read: int = 0
    written: int = 0
    say: bool = field(default=False)
    """Whether a result that answers by itself ends the user's request: small models would only spoil it."""


class Driver(Protocol):
    """Takes turns for a model; closing what `turn` gives stops the computing."""

    name: str

    def turn(self, asked: Asked) -> AsyncGenerator[Words | Turned]:
        """One turn: words as they come, then the whole. Raises ModelError."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...
