"""What a tool may know of the conversation that it is called in."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Where a call comes from."""

    conversation: str = ""
    message: str = ""
    """The id of the user's message that it belongs to."""
    untrusted: bool = False
    """Whether text that others wrote was in sight."""


TRUST: ContextVar[Trust] = ContextVar("trust", default=Trust())  # noqa: B039
"""Of the call that is running."""
