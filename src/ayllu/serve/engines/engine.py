"""What every engine does: continue a text, token by token. The gateway and the terminal chat know no more of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig
from ayllu.model.files import hf
from ayllu.model.generate import Sampling
from ayllu.text.tokenizer import Tokenizer

LONGEST_CONTEXT = 8192
"""Tokens that are served of a longer context: the keys and values of 128k tokens take gigabytes for each answer."""

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationRequest:
    """One text to continue. Raises ValueError where there is nothing to do."""

    prompt: Sequence[int]
    """Ids to continue, BOS included."""
    max_tokens: int
    """Most ids to generate."""
    sampling: Sampling = field(default_factory=Sampling)
    stop: Sequence[str] = ()
    """The answer ends before the first of these."""

    def __post_init__(self) -> None:
        if not self.prompt:
            raise ValueError("the prompt is empty; it must have at least one id")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; it must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class TextChunk:
    """A bit of an answer, in whole characters.

    `text` is empty while the prompt is read, and while a character or a stop string may be under way.
    """

    text: str
    tokens: int = 0
    """How many were computed since the chunk before."""
    finish_reason: FinishReason | None = None
    """Set on the last chunk only: `stop` when the model or a stop string ended it, `length` when the room did."""


class Engine(Protocol):
    """A loaded model that continues texts, for at most `parallel` callers at a time, each in a thread of its own."""

    tokenizer: Tokenizer
    context: int
    """Tokens that prompt and answer can have together."""
    parameters: int
    parallel: int

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        """Yield the answer as it is computed; exactly one chunk, the last, says why it ended.

        Prompts are read in pieces, with an empty chunk after each. Once `cancelled` is set the computing ends at the
        next piece or token, and nothing more is yielded. ValueError when the prompt does not fit into the context.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds; it answers nothing after that."""
        ...


def load_tokenizer_and_config(folder: Path) -> tuple[Tokenizer, ModelConfig]:
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
            f"{folder} cannot be served: its tokenizer has the id {tokenizer.size - 1}, its model only those up to "
            f"{config.vocabulary - 1}; take both from the same release"
        )
    return tokenizer, config


def max_new_tokens(request: GenerationRequest, context: int) -> int:
    """Most tokens of the answer: what the request allows and `context` has room for.

    Raises ValueError when not even the prompt fits into `context`.
    """
    if len(request.prompt) > context:
        raise ValueError(f"the prompt has {len(request.prompt)} tokens; the context holds {context}")
    return min(request.max_tokens, context - len(request.prompt))
