"""What happens in the loop, one step after the other: shown to the user, kept in traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When the loop stops by itself."""

    turns: int = 8
    """Of the model, for one message of the user."""
    seconds: float = 600.0
    """Of one message, without the time for which the user thinks about approvals."""
    tokens: int = 40_000
    """Read and written for one message."""
    answer_tokens: int = 1024
    """Of one turn."""


@dataclass(frozen=True, kw_only=True)
class Wrote:
    """The model wrote some words of its turn."""

    text: str
    kind: Literal["wrote"] = "wrote"


@dataclass(frozen=True, kw_only=True)
class Took:
    """The model took a turn: these items, of so many tokens."""

    items: Sequence[Mapping[str, Any]]
    read: int
    written: int
    say: bool
    kind: Literal["turn"] = "turn"


@dataclass(frozen=True, kw_only=True)
class Called:
    """The model calls a tool."""

    call: str
    name: str
    arguments: Mapping[str, Any]
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each argument came from."""
    kind: Literal["called"] = "called"


@dataclass(frozen=True, kw_only=True)
class Decided:
    """Whether a call may be made, and why."""

    call: str
    name: str
    allowed: bool
    asked: bool
    """Whether the user was asked."""
    why: str
    kind: Literal["decided"] = "decided"


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What a call gave."""

    call: str
    name: str
    output: str
    error: bool
    untrusted: bool
    seconds: float
    citations: Sequence[Mapping[str, Any]] = ()
    say: str | None = None
    """The sentence with which the result answers by itself."""
    kind: Literal["returned"] = "returned"


@dataclass(frozen=True, kw_only=True)
class Recalled:
    """What was remembered and shown to the model."""

    memories: Sequence[str]
    """Their ids."""
    kind: Literal["recalled"] = "recalled"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The loop's end: an answer, or why there is none."""

    reason: Literal["answered", "turns", "seconds", "tokens", "cancelled", "failed"]
    answer: str
    turns: int
    tokens: int
    seconds: float
    kind: Literal["ended"] = "ended"


Step = Wrote | Took | Called | Decided | Returned | Recalled | Ended


def as_json(step: Step) -> dict[str, Any]:
    """A step as traces and `--json` hold it, its kind first."""
    found = asdict(step)
    return {"kind": found.pop("kind"), **found}
