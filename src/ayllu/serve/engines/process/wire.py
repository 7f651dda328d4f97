"""What passes between the server and an engine's process: a JSON object a line, on a socket that only they have.

To the engine: `open` once, then `generate`, `cancel`, `check` and `embed`, each with the number `id` of a question.
From it: `ready` or `refused` once, then of each question `chunk`s, and at the end `done`, `value` or `error`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from ayllu.model.sampling import Sampling
from ayllu.serve.engines.engine import DrawnToken, GenerationRequest, TextChunk

Message = dict[str, Any]


class Wire:
    """Messages over a socket; several threads may send, one reads."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._guard = threading.Lock()
        self._lines: list[bytes] = []
        """What is to be sent."""
        self._sending = False
        """Whether a thread is sending, and will send what has come meanwhile."""

    def send(self, message: Message) -> None:
        """OSError where nobody is at the other end. Messages of several threads at once leave in one write."""
        line = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
        with self._guard:
            self._lines.append(line)
            if self._sending:
                return
            self._sending = True
        while True:
            with self._guard:
                if not self._lines:
                    self._sending = False
                    return
                data, self._lines = b"".join(self._lines), []
            try:
                self._connection.sendall(data)
            except OSError:
                with self._guard:
                    self._sending = False
                raise

    def messages(self) -> Iterator[Message]:
        """All that come, until the other end is closed or its process has ended."""
        with self._connection.makefile("rb") as lines:
            try:
                for line in lines:
                    if line.endswith(b"\n"):  # else the other end ended amid it
                        yield json.loads(line.decode("utf-8", "surrogatepass"))
            except OSError:
                return

    def close(self) -> None:
        """End it for both sides; the one that reads is woken."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def request_to_json(request: GenerationRequest) -> Message:
    """A request as JSON."""
    told = {field.name: getattr(request, field.name) for field in fields(request)}
    sampling = {field.name: getattr(request.sampling, field.name) for field in fields(request.sampling)}
    sampling["logit_bias"] = list(request.sampling.logit_bias.items())
    return {**told, "prompt": list(request.prompt), "stop": list(request.stop), "shown": list(request.shown)} | {
        "sampling": sampling
    }


def request_from_json(told: Message) -> GenerationRequest:
    """The request that `request_to_json` was given."""
    sampling = Sampling(**{**told["sampling"], "logit_bias": dict(told["sampling"]["logit_bias"])})
    return GenerationRequest(**{**told, "sampling": sampling, "shown": frozenset(told["shown"])})


def chunk_to_json(chunk: TextChunk) -> list[Any]:
    """A chunk as JSON."""
    drawn = [[one.id, one.logprob, list(one.top)] for one in chunk.drawn]
    read = [[one.id, one.logprob, list(one.top)] for one in chunk.read]
    return [chunk.text, chunk.tokens, chunk.finish_reason, chunk.cached, drawn, read, list(chunk.ids)]


def chunk_from_json(told: list[Any]) -> TextChunk:
    """The chunk that `chunk_to_json` was given."""
    text, tokens, finish, cached, drawn, read, ids = told
    return TextChunk(
        text=text, tokens=tokens, finish_reason=finish, cached=cached, drawn=_drawn(drawn), read=_drawn(read), ids=ids
    )


def _drawn(told: list[Any]) -> tuple[DrawnToken, ...]:
    return tuple(
        DrawnToken(id=token, logprob=value, top=[(other, its) for other, its in top]) for token, value, top in told
    )
