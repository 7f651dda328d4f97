"""Ids to text while they come: no half characters, and nothing of what lies behind a stop string."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection, Iterator, Sequence

from ayllu.serve.engines.engine import DrawnToken, FinishReason, GenerationRequest, TextChunk
from ayllu.text.tokenizer import Tokenizer

REPLACEMENT = "\ufffd"
Step = int | DrawnToken | tuple[DrawnToken, ...] | None
"""A step of an engine: the next id, or a piece of the prompt, of which something is told or nothing."""


class Utf8Decoder:
    """Turns ids into text one at a time.

    A byte-level token can end inside a character. Its text is held back until the ids that complete it have come, so
    that the pieces put together are exactly what `Tokenizer.decode` gives for all ids at once. Special ids are no text
    but those that are `shown`.
    """

    def __init__(self, tokenizer: Tokenizer, shown: Collection[int] = ()) -> None:
        self._tokenizer, self._shown = tokenizer, frozenset(shown)
        self._pending: list[int] = []
        self._given = 0

    def push(self, token: int) -> str:
        """The text that is certain now that `token` has come; often empty."""
        if token in self._shown:
            return self.flush() + self._tokenizer.token(token)
        if not (alone := self._tokenizer.decode([token])):
            return ""
        before = self._tokenizer.decode(self._pending)
        self._pending.append(token)
        text = self._tokenizer.decode(self._pending)
        if not text.endswith(REPLACEMENT):
            fresh = text[self._given :]
            self._pending, self._given = [], 0
            return fresh
        # The last mark may stand for a character that is still to be completed: up to three bytes, always one mark.
        fresh = text[self._given : -1]
        self._given = len(text) - 1
        if before + alone == text:
            # The token does not go on with what was pending, so that was no character and need not be kept.
            self._pending, self._given = [token], len(alone) - 1
        return fresh

    def flush(self) -> str:
        """What is left when no more ids come: a mark for an unfinished character, or nothing."""
        text = self._tokenizer.decode(self._pending)[self._given :]
        self._pending, self._given = [], 0
        return text


class StopScanner:
    """Lets text through up to the first of the stop strings.

    The end of the text so far is held back as long as it could be the beginning of one of them.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """The text that can be shown, and whether a stop string was found behind it."""
        if not self._stops:
            return text, False
        text = self._held + text
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self._held = ""
            return text[: min(found)], True
        keep = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], False

    def flush(self) -> str:
        """What was held back, when no more text comes."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


def text_chunks(
    steps: Iterator[Step],
    tokenizer: Tokenizer,
    request: GenerationRequest,
    cancelled: threading.Event,
    *,
    cached: Callable[[], int],
    finish: Callable[[int], FinishReason],
) -> Iterator[TextChunk]:
    """An answer's chunks from its steps.

    `cached` is asked once the first step was computed, `finish`, with how many ids came, why the steps ended.
    """
    decoder, scanner = Utf8Decoder(tokenizer, request.shown), StopScanner(request.stop)
    for token in request.beginning:
        scanner.push(decoder.push(token))
    count = 0
    told: Callable[[], int] | None = cached
    for step in steps:
        first, told = told() if told else 0, None
        if step is None or isinstance(step, tuple):
            yield TextChunk(text="", cached=first, read=step or ())
            continue
        count += 1
        drawn = (step,) if isinstance(step, DrawnToken) else ()
        token = step.id if isinstance(step, DrawnToken) else step
        shown, stopped = scanner.push(decoder.push(token))
        why: FinishReason | None = "stop" if stopped else None
        yield TextChunk(text=shown, tokens=1, drawn=drawn, cached=first, finish_reason=why, ids=(token,))
        if stopped:
            return
    if cancelled.is_set():
        return
    shown, stopped = scanner.push(decoder.flush())
    shown = shown if stopped else shown + scanner.flush()
    yield TextChunk(text=shown, finish_reason="stop" if stopped else finish(count), cached=told() if told else 0)


def joined(chunks: Sequence[TextChunk]) -> TextChunk:
    """Chunks that follow each other, as one."""
    return TextChunk(
        text="".join(chunk.text for chunk in chunks),
        tokens=sum(chunk.tokens for chunk in chunks),
        finish_reason=chunks[-1].finish_reason,
        drawn=tuple(itertools.chain.from_iterable(chunk.drawn for chunk in chunks)),
        read=tuple(itertools.chain.from_iterable(chunk.read for chunk in chunks)),
        cached=sum(chunk.cached for chunk in chunks),
        ids=tuple(itertools.chain.from_iterable(chunk.ids for chunk in chunks)),
    )
