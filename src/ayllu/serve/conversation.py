"""A conversation with an engine: what was said so far, and the next answer."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from typing import Any

from ayllu.lab.error import UserError
from ayllu.model.sampling import Sampling
from ayllu.serve.engines.engine import Engine, FinishReason, GenerationRequest
from ayllu.serve.history import fit_to_context
from ayllu.text.chat import Message


class Conversation:
    """What was said so far, and the engine that answers.

    An answer has at most `max_tokens` ids, or as many as fit into the model's context.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        system: str | None = None,
        messages: Sequence[Message] = (),
        sampling: Sampling,
        max_tokens: int | None = None,
    ) -> None:
        self.system = system
        self.messages = list(messages)
        self.finish_reason: FinishReason | None = None
        self.usage = {"prompt_tokens": 0, "completion_tokens": 0}
        self.dropped = 0
        self._engine, self._sampling, self._max_tokens = engine, sampling, max_tokens

    def ask(self, text: str) -> Generator[str]:
        """Yield the answer's text as it comes; it belongs to the conversation even when the caller stops listening.

        ValueError when `text` does not fit into the model's context (ContextFull) or its chat template refuses it; then
        nothing was said.
        """
        head = [Message(role="system", content=self.system)] if self.system else []
        asked = [*self.messages, Message(role="user", content=text)]
        engine = self._engine
        fitted = fit_to_context([*head, *asked], engine.tokenizer, context=engine.context, max_tokens=self._max_tokens)
        # What no longer fits now never will again.
        self.messages, self.dropped = asked[fitted.dropped :], fitted.dropped
        self.usage = {"prompt_tokens": len(fitted.prompt), "completion_tokens": 0}
        self.finish_reason = None
        room = engine.context - len(fitted.prompt)
        request = GenerationRequest(
            prompt=fitted.prompt, max_tokens=min(self._max_tokens or room, room), sampling=self._sampling
        )
        answer = ""
        try:
            for chunk in engine.generate(request, threading.Event()):
                answer += chunk.text
                self.usage["completion_tokens"] += chunk.tokens
                self.finish_reason = chunk.finish_reason
                if chunk.text:
                    yield chunk.text
        finally:
            self.messages.append(Message(role="assistant", content=answer))

    def reset(self) -> None:
        """Forget what was said; the system message stays."""
        self.messages = []


def given_sampling(**values: float | int | None) -> dict[str, Any]:
    """Those of `values` that are not None, fit for `Sampling`. Raises UserError for one that no distribution has."""
    given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    try:
        Sampling(**given)
    except ValueError as error:
        raise UserError(f"{error}; change the option") from error
    return given
