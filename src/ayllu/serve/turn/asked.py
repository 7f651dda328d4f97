"""What a client asks for in one turn of a conversation, whatever the API that it came by."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ayllu.text.chat import Message
from ayllu.text.tool_calls import Tool


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolChoice:
    """Whether tools are called: `none` of them, as the model likes (`auto`), or at least one (`required`)."""

    mode: Literal["none", "auto", "required"] = "auto"
    names: frozenset[str] | None = None
    """Only these may be called, though the model is told of all; None for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What the words of the answer must match."""

    kind: Literal["json_object", "json_schema", "regex", "choice", "lark"]
    value: Any = None
    """A JSON Schema, a regular expression, the texts to choose from, or a grammar in Lark's notation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """A conversation so far, and what is wanted of the assistant's next turn.

    Raises ValueError where the choice asks for a tool that is not there.
    """

    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    strict: Collection[str] = ()
    """Names of tools whose arguments must match their schemas, whatever the choice."""
    choice: ToolChoice = field(default_factory=ToolChoice)
    parallel: bool = True
    """Whether one turn may hold several calls."""
    shape: Shape | None = None

    def __post_init__(self) -> None:
        known = {tool.name for tool in self.tools}
        if missing := sorted((self.choice.names or frozenset()) - known):
            raise ValueError(f"there is no tool {missing[0]}; the tools are {', '.join(sorted(known)) or 'none'}")
        if self.choice.mode == "required" and not self.callable:
            raise ValueError("a call is required, but there are no tools")

    @property
    def callable(self) -> list[Tool]:
        """The tools that may be called in this turn."""
        if self.choice.mode == "none":
            return []
        return [tool for tool in self.tools if self.choice.names is None or tool.name in self.choice.names]

    @property
    def told(self) -> Sequence[Tool]:
        """The tools that the model is told of: where none may be called, none."""
        return () if self.choice.mode == "none" else self.tools
