"""The text of an answer as events: words, and calls of the tools that were offered."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ayllu.serve.turn.events import CallArguments, CallEnded, CallStarted, Event, Words
from ayllu.text.calls.parser import CallParser, MalformedCall
from ayllu.text.calls.parser import Event as Parsed
from ayllu.text.calls.pieces import CallPiece
from ayllu.text.calls.shape import CallForm
from ayllu.text.tool_calls import Tool, ToolCall, write_call


def call_id() -> str:
    """A name for a call that no other call has."""
    return f"call_{uuid.uuid4().hex[:24]}"


class Reader:
    """Reads one answer as it comes: `push` each chunk, `close` at the end.

    What looks like a call and cannot be read, or names a tool that was not offered, stays words: a client could do
    nothing with it. So a call is told of when it is complete, but where a grammar has it `enforced`: its arguments then
    come as they are written, and an answer that is cut amid a call has a `CallStarted` without a `CallEnded`.
    """

    def __init__(
        self,
        *,
        offered: Collection[str],
        forms: Sequence[CallForm] = (),
        tools: Sequence[Tool] = (),
        parallel: bool = True,
        enforced: bool = False,
        asked: Sequence[str] = (),
    ) -> None:
        """`asked`: the newest requests that it answers, the last one first, for whoever judges the answer."""
        self._offered, self._parallel = frozenset(offered), parallel
        self._parser = CallParser(forms=forms, tools=tools, pieces=enforced) if offered else None
        self.asked = asked
        self.calls = 0
        """How many calls there were so far, whole ones."""
        self._index = 0
        self._written: _Written | None = None

    @property
    def done(self) -> bool:
        """Whether nothing of what may still come is wanted."""
        return self.calls > 0 and not self._parallel

    def push(self, text: str) -> list[Event]:
        """What is certain now that `text` has come."""
        if self._parser is None:
            return [Words(text=text)] if text else []
        return list(self._events(self._parser.push(text)))

    def close(self) -> list[Event]:
        """What is left when no more comes."""
        return list(self._events(self._parser.close())) if self._parser is not None else []

    def _events(self, parsed: Iterable[Parsed]) -> Iterator[Event]:
        for part in parsed:
            if self.done:
                return
            if isinstance(part, CallPiece):
                yield from self._piece(part)
            elif self._written is not None:
                yield from self._end(self._written, read=isinstance(part, ToolCall))
            elif isinstance(part, ToolCall) and part.name in self._offered:
                yield from self._call(part)
            # White space between calls is nobody's words.
            elif (text := _as_words(part)) and (text.strip() or not self._index):
                yield Words(text=text)

    def _call(self, call: ToolCall) -> Iterator[Event]:
        arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
        yield from self._piece(CallPiece(name=call.name, text=arguments))
        assert self._written is not None
        yield from self._end(self._written, read=True)

    def _piece(self, piece: CallPiece) -> Iterator[Event]:
        if piece.name not in self._offered:
            return
        if self._written is None:
            self._written = _Written(id=call_id(), name=piece.name)
            yield CallStarted(index=self._index, id=self._written.id, name=piece.name)
        self._written.arguments += piece.text
        yield CallArguments(index=self._index, text=piece.text)

    def _end(self, written: _Written, *, read: bool) -> Iterator[Event]:
        index, self._index, self._written = self._index, self._index + 1, None
        if read:
            self.calls += 1
            yield CallEnded(index=index, id=written.id, name=written.name, arguments=written.arguments)


@dataclass(kw_only=True, slots=True)
class _Written:
    """A call that is being told of."""

    id: str
    name: str
    arguments: str = ""


def _as_words(part: str | ToolCall | MalformedCall) -> str:
    if isinstance(part, MalformedCall):
        return part.text
    return write_call(part) if isinstance(part, ToolCall) else part
