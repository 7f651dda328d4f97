"""How one answer went, from the queue to its last token: what metrics, traces and logs are made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ayllu.serve.access.request import CURRENT, RequestContext
from ayllu.serve.engines.engine import GenerationRequest


@dataclass(kw_only=True, slots=True, eq=False)
class Course:
    """One answer of an engine; times are `time.monotonic()`, None for what did not come about."""

    request: GenerationRequest
    model: str = ""
    context: RequestContext | None = field(default_factory=CURRENT.get)
    arrived: float = field(default_factory=time.monotonic)
    started: float | None = None
    """When it had its turn."""
    first: float | None = None
    """When its first token was there."""
    last: float | None = None
    ended: float | None = None
    tokens: int = 0
    gaps: list[float] = field(default_factory=list)
    """Seconds between its tokens, one fewer than they are; of tokens that came together, between the groups, for each
    token its part; within the first group none."""
    finish_reason: str = "abort"
    """`stop`, `length`, `abort` where the client left, `error` where the engine failed,
    `refused` where no turn came."""
    said: tuple[str, str] | None = None
    """The prompt and the answer, where the log is to have them."""

    def came(self, tokens: int) -> None:
        """Note that so many more tokens are there."""
        if tokens < 1:
            return
        now = time.monotonic()
        if self.last is None:
            self.first = now
            self.gaps += [0.0] * (tokens - 1)
        else:
            self.gaps += [(now - self.last) / tokens] * tokens
        self.last = now
        self.tokens += tokens


Watcher = Callable[[Course], None]
"""Is called with each answer when it has ended."""
