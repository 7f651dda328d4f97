"""How an answer is laid out, whole or as a stream: the objects of OpenAI's chat and text completions."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ayllu.serve.engines.engine import DrawnToken
from ayllu.serve.turn.drawn import Places, finite, shown_token, told_tokens
from ayllu.serve.turn.events import CallArguments, CallEnded, CallStarted, End, Event, Read, Words
from ayllu.text.tokenizer import Tokenizer

DONE = "data: [DONE]\n\n"
"""The event that ends a stream."""


class Layout:
    """The layout of one answer; one object for each request, since all its parts carry the same id."""

    prefix, kind, chunk_kind = "", "", ""

    def __init__(self, model: str, tokenizer: Tokenizer) -> None:
        self._head = {"id": f"{self.prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self.tokenizer = tokenizer

    def body(self, choices: list[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
        """A whole answer."""
        return {**self._head, "object": self.kind, "choices": choices, "usage": usage}

    def chunk(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """A part of a stream."""
        return {**self._head, "object": self.chunk_kind, "choices": choices, **more}

    def choice(self, index: int) -> Choice:
        """One choice, before anything of it has come."""
        raise NotImplementedError


class Choice:
    """One choice on its way: events in, and out of it either `deltas` or, at the end, the `whole`."""

    def __init__(self, index: int, tokenizer: Tokenizer) -> None:
        self._index, self._tokenizer = index, tokenizer
        self._text = ""
        self._reason: str | None = None
        self._drawn: list[DrawnToken] = []

    @property
    def likelihood(self) -> float:
        """The mean of the log-probabilities of its ids."""
        return sum(token.logprob for token in self._drawn) / max(len(self._drawn), 1)

    def add(self, event: Event) -> None:
        """Take in what has come."""
        self._drawn += event.drawn
        if isinstance(event, Words):
            self._text += event.text
        elif isinstance(event, End):
            self._reason = event.reason

    def whole(self, index: int) -> dict[str, Any]:
        """All of it, told as the choice of the number `index`."""
        raise NotImplementedError

    def deltas(self, event: Event) -> Iterator[dict[str, Any]]:
        """What a stream tells of an event."""
        raise NotImplementedError


class ChatLayout(Layout):
    """Answers to `POST /v1/chat/completions`; with `legacy` calls are told in the older `function_call`.

    `shown` are the special ids that are text, as in `GenerationRequest`.
    """

    prefix, kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(
        self, model: str, tokenizer: Tokenizer, *, logprobs: bool, legacy: bool, shown: Collection[int] = ()
    ) -> None:
        super().__init__(model, tokenizer)
        self._logprobs, self._legacy, self._shown = logprobs, legacy, shown

    def choice(self, index: int) -> Choice:
        return ChatChoice(index, self.tokenizer, logprobs=self._logprobs, legacy=self._legacy, shown=self._shown)


class ChatChoice(Choice):
    """A message of the assistant."""

    def __init__(
        self, index: int, tokenizer: Tokenizer, *, logprobs: bool, legacy: bool, shown: Collection[int] = ()
    ) -> None:
        super().__init__(index, tokenizer)
        self._logprobs, self._legacy, self._shown = logprobs, legacy, shown
        self._calls: list[tuple[str, dict[str, str]]] = []
        """Ids and functions; an answer that was cut amid a call has its arguments as far as they came."""
        self._begun = False

    def add(self, event: Event) -> None:
        super().add(event)
        if isinstance(event, CallStarted):
            self._calls.append((event.id, {"name": event.name, "arguments": ""}))
        elif isinstance(event, CallArguments):
            self._calls[-1][1]["arguments"] += event.text

    def whole(self, index: int) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self._text, "refusal": None}
        if self._calls:
            message["content"] = self._text or None
            if self._legacy:
                message["function_call"] = self._calls[0][1]
            else:
                message["tool_calls"] = [
                    {"id": name, "type": "function", "function": function} for name, function in self._calls
                ]
        return {
            "index": index,
            "message": message,
            "finish_reason": self._finish(self._reason),
            "logprobs": self._told(self._drawn),
        }

    def deltas(self, event: Event) -> Iterator[dict[str, Any]]:
        if not self._begun:
            self._begun = True
            begins = None if isinstance(event, CallStarted) else ""
            yield self._delta({"role": "assistant", "content": begins, "refusal": None}, None, ())
        if isinstance(event, Words):
            yield self._delta({"content": event.text}, None, event.drawn)
        elif isinstance(event, CallStarted):
            head = {"index": event.index, "id": event.id, "type": "function"}
            yield self._call(head, {"name": event.name, "arguments": ""}, event.drawn)
        elif isinstance(event, CallArguments):
            yield self._call({"index": event.index}, {"arguments": event.text}, event.drawn)
        elif isinstance(event, CallEnded) and event.drawn:
            yield self._delta({}, None, event.drawn)
        elif isinstance(event, End):
            yield self._delta({}, event.reason, event.drawn)

    def _call(self, head: dict[str, Any], function: dict[str, str], drawn: Sequence[DrawnToken]) -> dict[str, Any]:
        if self._legacy:
            return self._delta({"function_call": function}, None, drawn)
        return self._delta({"tool_calls": [{**head, "function": function}]}, None, drawn)

    def _delta(self, delta: dict[str, Any], reason: str | None, drawn: Sequence[DrawnToken]) -> dict[str, Any]:
        logprobs = self._told(drawn) if drawn else None
        return {"index": self._index, "delta": delta, "finish_reason": self._finish(reason), "logprobs": logprobs}

    def _finish(self, reason: str | None) -> str | None:
        return "function_call" if reason == "tool_calls" and self._legacy else reason

    def _told(self, drawn: Sequence[DrawnToken]) -> dict[str, Any] | None:
        if not self._logprobs:
            return None
        return {"content": told_tokens(self._tokenizer, drawn, self._shown), "refusal": None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Echo:
    """A prompt as it is told before its answer."""

    text: str
    first: int | None
    """The id at its beginning that nothing stands before; None where that is a BOS which the client did not give."""

    @classmethod
    def of(cls, prompt: str | Sequence[int], ids: Sequence[int], tokenizer: Tokenizer) -> Echo:
        """`prompt` as the client gave it, and its `ids` as they are computed."""
        if isinstance(prompt, str):
            return cls(text=prompt, first=None)
        return cls(text=tokenizer.decode(list(prompt)), first=ids[0])


class TextLayout(Layout):
    """Answers to `POST /v1/completions`; `echo` are the prompts, where they are told too."""

    prefix, kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str, tokenizer: Tokenizer, *, logprobs: bool, echo: Sequence[Echo], each: int) -> None:
        super().__init__(model, tokenizer)
        self._logprobs, self._echo, self._each = logprobs, echo, each

    def choice(self, index: int) -> Choice:
        echo = self._echo[index // self._each] if self._echo else Echo(text="", first=None)
        return TextChoice(index, self.tokenizer, logprobs=self._logprobs, echo=echo)


class TextChoice(Choice):
    """A text that goes on with a prompt."""

    def __init__(self, index: int, tokenizer: Tokenizer, *, logprobs: bool, echo: Echo) -> None:
        super().__init__(index, tokenizer)
        self._logprobs, self._echo = logprobs, echo
        self._read: list[DrawnToken] = []
        self._begun = False
        self._places = Places(tokenizer)

    def add(self, event: Event) -> None:
        if isinstance(event, Read):
            self._read += event.drawn
        else:
            super().add(event)

    def whole(self, index: int) -> dict[str, Any]:
        echo = self._told_echo() if self._logprobs else None
        return self._part(index, self._echo.text + self._text, self._reason, self._drawn, echo)

    def deltas(self, event: Event) -> Iterator[dict[str, Any]]:
        if isinstance(event, Read):
            self._read += event.drawn
            return
        if not self._begun:
            self._begun = True
            # Without an echo its log-probabilities are none, and what follows has its place behind no text.
            echo = self._told_echo() if self._logprobs else None
            if self._echo.text:
                yield self._part(self._index, self._echo.text, None, (), echo)
        if isinstance(event, Words):
            yield self._part(self._index, event.text, None, event.drawn)
        elif isinstance(event, End):
            yield self._part(self._index, "", event.reason, event.drawn)

    def _part(
        self,
        index: int,
        text: str,
        reason: str | None,
        drawn: Sequence[DrawnToken],
        echo: dict[str, list[Any]] | None = None,
    ) -> dict[str, Any]:
        logprobs = None
        if self._logprobs:
            logprobs = self._told(drawn)
            if echo is not None:
                logprobs = {name: echo[name] + values for name, values in logprobs.items()}
        return {"index": index, "text": text, "finish_reason": reason, "logprobs": logprobs}

    def _told_echo(self) -> dict[str, list[Any]]:
        """What is told of the prompt: of its first id that nothing stands before it."""
        told: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        if self._echo.first is not None:
            shown = shown_token(self._tokenizer, self._echo.first)
            told = {"tokens": [shown], "token_logprobs": [None], "top_logprobs": [None]}
            told["text_offset"] = [self._places.next(self._echo.first)]
        read = self._told(self._read)
        return {name: values + read[name] for name, values in told.items()}

    def _told(self, drawn: Sequence[DrawnToken]) -> dict[str, list[Any]]:
        return {
            "tokens": [shown_token(self._tokenizer, token.id) for token in drawn],
            "token_logprobs": [finite(token.logprob) for token in drawn],
            "top_logprobs": [
                {shown_token(self._tokenizer, number): finite(logprob) for number, logprob in token.top}
                for token in drawn
            ],
            "text_offset": [self._places.next(token.id) for token in drawn],
        }


LINE_ENDS = {ord(sign): f"\\u{ord(sign):04x}" for sign in "\x85\u2028\u2029"}
"""Characters at which many readers of events end a line, though only line feeds and carriage returns do; as escapes."""


def as_event(data: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':')).translate(LINE_ENDS)}\n\n"
