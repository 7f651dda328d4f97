"""The gate before every call: what has an effect while text that others wrote is in sight needs the user's word.

A model cannot be kept from obeying what it reads. So nothing here depends on what it decides: once a result that others
may have written is in the conversation, no call with an effect runs unless the user allows that very call, whatever was
allowed before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ayllu.assistant.approvals.book import ApprovalBook
from ayllu.assistant.tools.tool import RunnableTool

Answer = Literal["no", "yes", "conversation", "always", "argument"]
"""No; this call; this tool in this conversation; this tool from now on; this very call from now on."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the user is asked."""

    tool: RunnableTool
    arguments: Mapping[str, Any]
    origins: Mapping[str, str]
    untrusted: tuple[str, ...]
    """Where text came from that others wrote and the model has seen: then only `no` and `yes` are answers."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether a call runs."""

    allowed: bool
    asked: bool
    why: str


Asker = Callable[[Question], Awaitable[Answer]]


@dataclass
class Gate:
    """Decides; without an `asker` there is nobody to ask, and what needs the user's word is refused."""

    book: ApprovalBook
    asker: Asker | None = None
    granted: set[str] = field(default_factory=set)
    """Tools that are allowed for this conversation."""

    def __post_init__(self) -> None:
        self._one_question = asyncio.Lock()

    async def decide(
        self,
        tool: RunnableTool,
        arguments: Mapping[str, Any],
        *,
        origins: Mapping[str, str],
        untrusted: tuple[str, ...],
    ) -> Decision:
        """Whether this call may run now; asks the user where that is needed."""
        seen = untrusted if tool.effect and not self.book.reads(tool.name) else ()
        if not seen and (why := self._standing(tool, arguments)):
            return Decision(allowed=True, asked=False, why=why)
        if self.asker is None:
            return Decision(allowed=False, asked=False, why=_nobody(tool.name, seen))
        async with self._one_question:
            answer = await self.asker(
                Question(tool=tool, arguments=arguments, origins=origins, untrusted=tuple(dict.fromkeys(seen)))
            )
        if answer == "no":
            return Decision(allowed=False, asked=True, why="you said no")
        if not seen:
            self._remember(tool.name, arguments, answer)
        return Decision(allowed=True, asked=True, why="you said yes")

    def _standing(self, tool: RunnableTool, arguments: Mapping[str, Any]) -> str | None:
        """Why no question is needed."""
        ask = self.book.ask(tool.name) or tool.ask
        if ask == "never":
            return f"{tool.name} is not asked for"
        if ask == "once" and tool.name in self.granted:
            return "you allowed it in this conversation"
        if ask != "always" and self.book.allows(tool.name, arguments):
            return "you allowed this very call"
        if tool.name in self.granted:
            return "you allowed it in this conversation"
        return None

    def _remember(self, name: str, arguments: Mapping[str, Any], answer: Answer) -> None:
        if answer == "conversation" or (self.book.ask(name) == "once"):
            self.granted.add(name)
        if answer == "always":
            self.book.set_ask(name, "never")
        elif answer == "argument":
            self.book.set_ask(name, "argument")
            self.book.allow(name, arguments)


def _nobody(name: str, untrusted: tuple[str, ...]) -> str:
    if untrusted:
        return (
            f"{name} changes something, and the model has read text that others may have written "
            f"({', '.join(dict.fromkeys(untrusted))}): it needs your approval, and there is nobody to ask"
        )
    return f"{name} needs your approval, and there is nobody to ask; allow it with --approve {name}"
