"""The safety filter in the way of one answer, and of what is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ayllu.serve.errors import ApiError
from ayllu.serve.turn.events import CallArguments, CallEnded, CallStarted, End, Event, Words

if TYPE_CHECKING:
    from ayllu.safety.filter.guard import Finding, Guard
    from ayllu.serve.served import Served

_SENTENCE = re.compile(r".*?(?:[.!?…。]\s+|\n|\Z)", re.DOTALL)
"""Up to where the guard judges what has come."""


def check_asked(served: Served, asked: str, param: str) -> None:
    """Raise ApiError where the filter refuses what a client asks, with the reason."""
    guard = served.queue.guard
    if guard is not None and (finding := guard.check_request(asked)) is not None:
        raise ApiError(400, finding.reason, param=param, code="content_filter")


class Filtered:
    """Passes an answer's events on until the filter stops it; without a guard, all of them."""

    def __init__(self, guard: Guard | None, *, told: bool, asked: Sequence[str] = ()) -> None:
        """`told`: whether the reason may be added to the words, as it may not where a grammar says what they are.

        `asked` are the requests that the answer is one to, the last one first; none where that is not known.
        """
        self._watch = guard.watch(asked[0] if asked else "", asked[1:]) if guard is not None else None
        self._told = told
        self._held: list[Event] = []
        """Of a call that is not complete yet."""
        self.stopped = False
        """Whether the answer has ended here."""
        self.cut = 0
        """Characters behind the sentence that was stopped, which came with it and are not shown."""

    def pass_on(self, events: Iterable[Event], *, last: bool = False) -> Iterator[Event]:
        """The events, as far as they may be seen: a call that is stopped is not begun. `last`: no more will come."""
        for event in events:
            if self.stopped:
                return
            finding = self._finding(event)
            if finding is not None:
                # The words that are stopped are out already, but for their last piece; a call is not.
                if isinstance(event, Words):
                    yield replace(event, text=event.text[: len(event.text) - self.cut])
                yield from self._stop(finding)
                return
            if self._watch is not None and isinstance(event, CallStarted | CallArguments):
                self._held.append(event)
                continue
            yield from self._let_go()
            yield event
        if last and self._watch is not None and not self.stopped:
            cut = "".join(event.text for event in self._held if isinstance(event, CallArguments))
            if (finding := (self._watch.push(f"\n{cut}\n") if cut else None) or self._watch.close()) is not None:
                yield from self._stop(finding)
            else:
                yield from self._let_go()

    def _let_go(self) -> Iterator[Event]:
        held, self._held = self._held, []
        yield from held

    def _finding(self, event: Event) -> Finding | None:
        if self._watch is None or not isinstance(event, Words | CallEnded):
            return None
        if isinstance(event, Words):
            # Pieces that come together may hold sentences behind the one that is stopped.
            for sentence in _SENTENCE.finditer(event.text):
                if sentence.group() and (finding := self._watch.push(sentence.group())) is not None:
                    self.cut = len(event.text) - sentence.end()
                    return finding
            return None
        # A call stands by itself: nothing comes behind it that it would wait for.
        return self._watch.push(f"\n{event.arguments}\n")

    def _stop(self, finding: Finding) -> Iterator[Event]:
        self.stopped = True
        self._held.clear()
        if self._told:
            yield Words(text=f"\n\n[{finding.reason}]")
        yield End(reason="content_filter")
