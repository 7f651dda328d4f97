"""An answer that can give its turn back and go on with the next."""

from __future__ import annotations

import threading
from dataclasses import replace

from ayllu.serve.engines.engine import GenerationRequest, TextChunk
from ayllu.serve.queueing.turns import Holder

MOST_UNREAD = 64
"""Tokens that lie ready for a client before its answer waits for it: more than a busy loop leaves lying."""
LEAST_TURN = 16
"""Tokens that an answer writes before its turn can be given back: what is read again is not much more."""


class Holding:
    """An answer that gives its turn back where that changes no bit of it: what is left of it, as a request.

    So it has ids that the engine tells, and nothing told of the prompt; and where the engine does not resume them, no
    seed, no grammar and no penalty that counts the answer alone.
    """

    def __init__(self, request: GenerationRequest, *, resumes: bool) -> None:
        """`resumes` as the engine's `Accepts` has it."""
        self._request = request
        self._ids: list[int] = []
        self._fresh = 0
        self._cancelled = threading.Event()
        self._given_back = False
        self.seconds = 0.0
        """Of all turns that have ended."""
        sampling = request.sampling
        by_ids = (sampling.seed is None or sampling.greedy) and request.grammar is None
        by_ids = by_ids and not (sampling.presence_penalty or sampling.frequency_penalty)
        self._can = (resumes or by_ids) and not request.prompt_logprobs
        self.kept = Holder(ready=lambda: self._fresh >= LEAST_TURN, ask=self.give_back) if self._can else None

    def begin(self, cancelled: threading.Event) -> GenerationRequest:
        """What is to be computed in the turn that begins; `cancelled` ends it."""
        self._cancelled, self._given_back, self._fresh = cancelled, False, 0
        if not self._ids:
            return self._request
        whole, count = self._request, len(self._ids)
        return replace(whole, prompt=[*whole.prompt, *self._ids], max_tokens=whole.max_tokens - count, written=count)

    def came(self, chunk: TextChunk) -> bool:
        """Note what came; whether the turn can still be given back."""
        self._ids += chunk.ids
        self._fresh += chunk.tokens
        self._can = self._can and len(chunk.ids) == chunk.tokens
        return self._can

    def goes_on(self, *, cut: bool) -> bool:
        """Whether a turn that ended before the answer did was given back, and more may come."""
        return self._given_back and not cut and len(self._ids) < self._request.max_tokens

    def give_back(self) -> None:
        """End the turn, where another can follow: others should have it, or nobody reads what it writes."""
        if self._can:
            self._given_back = True
            self._cancelled.set()
