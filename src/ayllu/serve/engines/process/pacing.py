"""How often the pieces of an answer go to the server: the first and the last at once, others some milliseconds apart.

A model of 135 million parameters writes a token in two to six milliseconds. To wake the server and the client for each
of them takes the processor from the model, and nobody reads them apart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from ayllu.serve.engines.decode import joined
from ayllu.serve.engines.engine import TextChunk

INTERVAL = 1 / 30
"""Seconds from one piece of an answer to the next, where tokens come faster: nobody reads thirty pieces a second."""
PIECES = 160
"""Pieces a second of all answers together: with sixteen of them, ten a second each. Every piece takes from the model a
fifth of a millisecond of the processor."""


class Pacer:
    """The answers under way. What is held back of one leaves when its interval is over, whether or not more comes."""

    def __init__(self) -> None:
        self._open: set[PacedAnswer] = set()
        self._changed = threading.Condition()
        threading.Thread(target=self._look, name="pacer", daemon=True).start()

    @contextmanager
    def answer(self, send: Callable[[TextChunk], None]) -> Generator[PacedAnswer]:
        """An answer whose chunks go to `send`, one or several as one; behind the block nothing is left."""
        paced = PacedAnswer(send, self._interval)
        with self._changed:
            self._open.add(paced)
            self._changed.notify()
        try:
            yield paced
        finally:
            with self._changed:
                self._open.discard(paced)
            paced.flush()

    def _interval(self) -> float:
        return max(INTERVAL, len(self._open) / PIECES)

    def _look(self) -> None:
        while True:
            with self._changed:
                while not self._open:
                    self._changed.wait()
                under_way = list(self._open)
            # To be woken for each chunk that is held would cost what holding it saves.
            time.sleep(INTERVAL)
            for paced in under_way:
                try:
                    paced.flush(due=True)
                except OSError:
                    return  # the server is gone
                except Exception as error:  # the others' pieces are to leave all the same
                    paced.failure = error


class PacedAnswer:
    """Takes the chunks of one answer, and sends them."""

    def __init__(self, send: Callable[[TextChunk], None], interval: Callable[[], float] = lambda: INTERVAL) -> None:
        self._send, self._interval = send, interval
        self._held: list[TextChunk] = []
        self._sent = 0.0
        self._begun = False
        self._guard = threading.Lock()
        self.failure: Exception | None = None
        """Why a piece could not leave, when nobody was there to hear of it."""

    def put(self, chunk: TextChunk) -> None:
        """Send a chunk, with what is held, or hold it."""
        with self._guard:
            if self.failure is not None:
                raise self.failure
            self._held.append(chunk)
            if chunk.finish_reason is not None or not self._begun or self._due():
                self._leave()
            self._begun = self._begun or bool(chunk.tokens)

    def flush(self, *, due: bool = False) -> None:
        """Send what is held; with `due` only where the interval is over."""
        with self._guard:
            if self._held and (not due or self._due()):
                self._leave()

    def _due(self) -> bool:
        return time.monotonic() - self._sent >= self._interval()

    def _leave(self) -> None:
        chunks, self._held = self._held, []
        self._sent = time.monotonic()
        self._send(chunks[0] if len(chunks) == 1 else joined(chunks))
