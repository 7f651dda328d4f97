"""How an answer is laid out: Anthropic's message, and the events that it comes in."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from ayllu.serve.engines.decode import StopScanner
from ayllu.serve.errors import ApiError
from ayllu.serve.responses.items import new_id
from ayllu.serve.turn.answer import Answer
from ayllu.serve.turn.events import CallArguments, CallEnded, CallStarted, End, Event, Read, Words

Sent = dict[str, Any]
OVERLOADED = 529
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    OVERLOADED: "overloaded_error",
}
"""As the module `_client` of the package anthropic 2.14 reads statuses."""
REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def status_of(error: ApiError) -> int:
    """The status under which Anthropic's API tells of a problem."""
    return OVERLOADED if error.status == 503 else error.status


def error_body(error: ApiError) -> Sent:
    """A problem in Anthropic's form."""
    kind = TYPES.get(status_of(error), "invalid_request_error" if error.status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}, "request_id": None}


class MessageWriter:
    """Makes events of an answer's parts, and the message that they add up to."""

    def __init__(self, model: str, answer: Answer, *, stops: Sequence[str], whole_room: bool) -> None:
        """`whole_room`: whether the answer may fill all that the context has left, so that its end is the context's."""
        self._answer, self._stops, self._whole_room = answer, tuple(stops), whole_room
        self._scanner = StopScanner(stops)
        self._raw = ""
        self._stop_sequence: str | None = None
        self._reason: str | None = None
        self._content: list[dict[str, Any]] = []
        self._open = False
        self._head = {"id": new_id("msg"), "type": "message", "role": "assistant", "model": model}

    @property
    def message(self) -> Sent:
        """The message as far as it has come."""
        return {**self._head, "content": self._content, **self._ends(), "usage": self._usage()}

    async def events(self) -> AsyncGenerator[Sent]:
        """The events of the whole message; QueueFull when no turn comes."""
        yield {"type": "message_start", "message": {**self.message, "content": []}}
        async with aclosing(self._answer.events()) as events:
            async for sent in self._parts(events):
                yield sent
        for sent in self._closed():
            yield sent
        yield {"type": "message_delta", "delta": self._ends(), "usage": self._usage()}
        yield {"type": "message_stop"}

    async def _parts(self, events: AsyncIterator[Event]) -> AsyncGenerator[Sent]:
        async for event in events:
            for sent in self._sent(event):
                yield sent
            if self._reason is not None:
                return

    def _sent(self, event: Event) -> list[Sent]:
        if isinstance(event, End):
            cut = "model_context_window_exceeded" if self._whole_room else "max_tokens"
            self._reason = cut if event.reason == "length" else REASONS[event.reason]
            return self._text(self._scanner.flush())
        if isinstance(event, Read):  # which no message asks for
            return []
        if not isinstance(event, Words):
            return self._call(event)
        self._raw += event.text
        shown, stopped = self._scanner.push(event.text)
        sent = self._text(shown)
        if stopped:
            behind = sum(len(block.get("text", "")) for block in self._content)
            self._reason = "stop_sequence"
            self._stop_sequence = next(stop for stop in self._stops if self._raw.startswith(stop, behind))
        return sent

    def _text(self, text: str) -> list[Sent]:
        if not text:
            return []
        sent = [] if self._open else self._opened({"type": "text", "text": ""})
        self._content[-1]["text"] += text
        return [*sent, self._delta({"type": "text_delta", "text": text})]

    def _call(self, event: CallStarted | CallArguments | CallEnded) -> list[Sent]:
        if isinstance(event, CallStarted):
            # What was held back as the beginning of a stop sequence is words now.
            sent = [*self._text(self._scanner.flush()), *self._closed()]
            name = event.id.replace("call_", "toolu_", 1)
            return [*sent, *self._opened({"type": "tool_use", "id": name, "name": event.name, "input": {}})]
        if isinstance(event, CallArguments):
            return [self._delta({"type": "input_json_delta", "partial_json": event.text})]
        self._content[-1]["input"] = json.loads(event.arguments)
        return self._closed()

    def _opened(self, block: dict[str, Any]) -> list[Sent]:
        self._open = True
        self._content.append(block)
        return [{"type": "content_block_start", "index": len(self._content) - 1, "content_block": dict(block)}]

    def _delta(self, delta: dict[str, Any]) -> Sent:
        return {"type": "content_block_delta", "index": len(self._content) - 1, "delta": delta}

    def _closed(self) -> list[Sent]:
        if not self._open:
            return []
        self._open = False
        return [{"type": "content_block_stop", "index": len(self._content) - 1}]

    def _ends(self) -> Sent:
        return {"stop_reason": self._reason, "stop_sequence": self._stop_sequence}

    def _usage(self) -> dict[str, int]:
        """Tokens; those that needed no computing are not among the input's, as Anthropic counts them."""
        cached = self._answer.cached
        return {
            "input_tokens": self._answer.prompt_tokens - cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens": self._answer.tokens,
        }
