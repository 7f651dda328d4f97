"""What answers in a conversation: a Protocol, and the answer of no model, which repeats what it heard."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ayllu.serve.turn.asked import ToolChoice
from ayllu.text.chat import Message
from ayllu.text.tool_calls import Tool


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A conversation, and what is wanted of the next turn."""

    messages: Sequence[Message]
    most: int | None = None
    """Tokens; None for as many as the model's server gives."""
    tools: Sequence[Tool] = ()
    choice: ToolChoice = field(default_factory=ToolChoice)
    trim: bool = True
    """Whether the oldest turns go where the conversation is too long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A tool is called."""

    id: str
    name: str
    arguments: str
    """A JSON object."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """The answer is complete: tokens read and written, and whether it was cut at the most that was asked for."""

    read: int
    written: int
    cut: bool


Written = str | Call | Counts


class Mind(Protocol):
    """Answers."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def answer(self, asked: Asked) -> AsyncGenerator[Written]:
        """The assistant's next turn as it is written, `Counts` last; closing it stops the computing.

        Raises ApiError where the question cannot be answered.
        """
        ...


@dataclass(frozen=True)
class Saying:
    """Not a mind: words that were chosen before."""

    text: str
    name: str = "none"

    async def answer(self, asked: Asked) -> AsyncGenerator[Written]:
        yield self.text
        yield Counts(read=0, written=0, cut=False)


class Echo:
    """No language model: the ears and the voice alone."""

    name = "none"

    async def answer(self, asked: Asked) -> AsyncGenerator[Written]:
        heard = next((message.content for message in reversed(asked.messages) if message.role == "user"), "")
        yield f"I heard: {heard}" if heard.strip() else "I heard nothing."
        yield Counts(read=0, written=0, cut=False)
