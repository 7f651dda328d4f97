"""Engines compute tokens: what the gateway and the terminal chat ask of them, and ours on torch."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig
from ayllu.model.files import hf
from ayllu.model.generate import Sampling, generate
from ayllu.serve.engines.decode import StopScanner, Utf8Decoder
from ayllu.text.tokenizer import Tokenizer

LONGEST_CONTEXT = 8192
"""Tokens that are served of a longer context: the keys and values of 128k tokens take gigabytes for each answer."""

Finish = Literal["stop", "length"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One text to continue. Raises ValueError where there is nothing to do."""

    prompt: Sequence[int]
    """Ids to continue, BOS included."""
    tokens: int
    """Most ids to generate."""
    sampling: Sampling = field(default_factory=Sampling)
    stop: Sequence[str] = ()
    """The answer ends before the first of these."""

    def __post_init__(self) -> None:
        if not self.prompt:
            raise ValueError("the prompt is empty; it must have at least one id")
        if self.tokens < 1:
            raise ValueError(f"tokens is {self.tokens}; it must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A bit of an answer, in whole characters; `text` is empty while a character or a stop string may be under way."""

    text: str
    tokens: int = 0
    """How many were computed since the piece before."""
    finish: Finish | None = None
    """Set on the last piece only: `stop` when the model or a stop string ended it, `length` when the room did."""


class Engine(Protocol):
    """A loaded model that continues texts, for at most `parallel` callers at a time, each in a thread of its own."""

    tokenizer: Tokenizer
    context: int
    """Tokens that prompt and answer can have together."""
    parameters: int
    parallel: int

    def pieces(self, request: Request, cancelled: threading.Event) -> Iterator[Piece]:
        """Yield the answer as it is computed; exactly one piece, the last, says why it ended.

        Once `cancelled` is set the computing ends at the next token, and nothing more is yielded. ValueError when the
        prompt does not fit into the context.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds; it answers nothing after that."""
        ...


def read_shape(folder: Path) -> tuple[Tokenizer, ModelConfig]:
    """Tokenizer and shape of a folder of weights; UserError when they are not there or do not belong together."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder of a release or of weights")
    try:
        config = hf.load_config(folder)
        tokenizer = Tokenizer.load(folder)
    except (ValueError, OSError) as error:
        raise UserError(f"{folder} cannot be served: {error}") from error
    if tokenizer.size > config.vocabulary:
        raise UserError(
            f"{folder} cannot be served: its tokenizer has {tokenizer.size} entries and its model "
            f"{config.vocabulary}; take both from the same release"
        )
    return tokenizer, config


def room_for(request: Request, context: int) -> int:
    """Most tokens of the answer. Raises ValueError when not even the prompt fits into `context`."""
    if len(request.prompt) > context:
        raise ValueError(f"the prompt has {len(request.prompt)} tokens; the context holds {context}")
    return min(request.tokens, context - len(request.prompt))


class TorchEngine:
    """Our own transformer, on the CPU, with a key/value cache: no other program needed."""

    parallel = 1

    def __init__(self, folder: Path) -> None:
        self.tokenizer, config = read_shape(folder)
        try:
            self._model = hf.load(folder).eval().requires_grad_(False)
        except (ValueError, OSError) as error:
            raise UserError(f"{folder} cannot be served: {error}") from error
        self.context = min(config.context, LONGEST_CONTEXT)
        self.parameters = config.parameters

    def pieces(self, request: Request, cancelled: threading.Event) -> Iterator[Piece]:
        room = room_for(request, self.context)
        text, scanner = Utf8Decoder(self.tokenizer), StopScanner(request.stop)
        count = 0
        for token in generate(
            self._model,
            request.prompt,
            tokens=room,
            stop=self.tokenizer.stops,
            sampling=request.sampling,
        ):
            if cancelled.is_set():
                return
            count += 1
            shown, stopped = scanner.push(text.push(token))
            if stopped:
                yield Piece(text=shown, tokens=1, finish="stop")
                return
            yield Piece(text=shown, tokens=1)
        if cancelled.is_set():
            return
        shown, stopped = scanner.push(text.flush())
        shown = shown if stopped else shown + scanner.flush()
        yield Piece(text=shown, finish="length" if count == room and not stopped else "stop")

    def close(self) -> None:
        del self._model
