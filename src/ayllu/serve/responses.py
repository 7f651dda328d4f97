"""How an answer is laid out, whole or as a stream: the objects of OpenAI's chat and text completions."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

DONE = "data: [DONE]\n\n"
"""The event that ends a stream."""


class ResponseFormat:
    """The layout of one answer; one object for each request, since all its parts carry the same id."""

    prefix, kind, chunk_kind = "", "", ""

    def __init__(self, model: str) -> None:
        self._head = {"id": f"{self.prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def body(self, choices: list[dict[str, Any]], usage: dict[str, int]) -> dict[str, Any]:
        """A whole answer."""
        return {**self._head, "object": self.kind, "choices": choices, "usage": usage}

    def chunk(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """A part of a stream."""
        return {**self._head, "object": self.chunk_kind, "choices": choices, **more}

    def choice(self, index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
        """A whole choice."""
        raise NotImplementedError

    def first_delta(self, index: int) -> dict[str, Any] | None:
        """What a stream says of a choice before its text."""
        raise NotImplementedError

    def delta(self, index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
        """Some text of a choice, or its end."""
        raise NotImplementedError


class ChatFormat(ResponseFormat):
    """Answers to `POST /v1/chat/completions`."""

    prefix, kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def choice(self, index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": index, "message": message, "finish_reason": finish_reason, "logprobs": None}

    def first_delta(self, index: int) -> dict[str, Any] | None:
        return self._delta(index, {"role": "assistant", "content": ""}, None)

    def delta(self, index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
        return self._delta(index, {"content": text} if text else {}, finish_reason)

    def _delta(self, index: int, delta: dict[str, str], finish_reason: str | None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "finish_reason": finish_reason, "logprobs": None}


class TextFormat(ResponseFormat):
    """Answers to `POST /v1/completions`."""

    prefix, kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def choice(self, index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
        return {"index": index, "text": text, "finish_reason": finish_reason, "logprobs": None}

    def first_delta(self, index: int) -> dict[str, Any] | None:
        return None

    def delta(self, index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
        return self.choice(index, text, finish_reason)


LINE_ENDS = {ord(sign): f"\\u{ord(sign):04x}" for sign in "\x85\u2028\u2029"}
"""Characters at which many readers of events end a line, though only line feeds and carriage returns do; as escapes."""


def as_event(data: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':')).translate(LINE_ENDS)}\n\n"
