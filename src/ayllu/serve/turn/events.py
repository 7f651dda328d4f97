"""What an answer consists of while it comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ayllu.serve.engines.engine import DrawnToken

Reason = Literal["stop", "length", "tool_calls", "content_filter"]
"""Why an answer ended: `tool_calls` where it ended by itself and holds calls, `content_filter` where it was stopped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """Some of the prompt was read, of whose ids the request asks to be told."""

    drawn: Sequence[DrawnToken]


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """Some text of the answer."""

    text: str
    drawn: Sequence[DrawnToken] = ()
    """The ids computed since the event before, where the request asks for `logprobs`; every event may have some."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallStarted:
    """A tool is called; its arguments follow."""

    index: int
    """Which call of the answer, from 0."""
    id: str
    name: str
    drawn: Sequence[DrawnToken] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CallArguments:
    """Some of a call's arguments: a piece of the text of a JSON object."""

    index: int
    text: str
    drawn: Sequence[DrawnToken] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CallEnded:
    """A call is complete, and its arguments are a JSON object."""

    index: int
    id: str
    name: str
    arguments: str
    """All of them, as JSON."""
    drawn: Sequence[DrawnToken] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """The answer is complete."""

    reason: Reason
    drawn: Sequence[DrawnToken] = ()


Event = Read | Words | CallStarted | CallArguments | CallEnded | End
