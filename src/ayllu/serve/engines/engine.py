"""What every engine does: continue a text, token by token. The gateway and the terminal chat know no more of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig
from ayllu.model.files.hf_config import load_config
from ayllu.model.sampling import Sampling
from ayllu.text.tokenizer import Tokenizer

LONGEST_CONTEXT = 8192
"""Tokens that are served of a longer context: the keys and values of 128k tokens take gigabytes for each answer."""

MOST_LOGPROBS = 20
"""Likeliest ids that are told with each drawn one at most, as in OpenAI's API."""

FinishReason = Literal["stop", "length"]


class EngineEnded(RuntimeError):
    """The process of an engine ended while it answered, or there is none: the same request may be answered later."""


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
    grammar: str | None = None
    """What the whole answer must match: a grammar of `ayllu.serve.grammar`, which is valid."""
    logprobs: int | None = None
    """How many of the likeliest ids are told with each drawn one; 0: the drawn one alone; None: nothing is told."""
    prompt_logprobs: bool = False
    """Whether the same is told of each id of the prompt but the first; the whole prompt is computed for that."""
    adapter: str | None = None
    """Name of the adapter that is put on the weights; None for the weights alone."""
    shown: Collection[int] = ()
    """Special ids that are part of the text, by their names, such as the tags of tool calls; others are no text."""
    written: int = 0
    """So many ids at the end of the prompt are the beginning of the answer: their text was told, and is not told again.

    Only for engines whose chunks have `ids`. With one that `resumes`, what follows is what would have followed had they
    been drawn in this turn: by the seed, the grammar and penalties.
    """

    @property
    def beginning(self) -> Sequence[int]:
        """The ids of the answer that were written before."""
        return self.prompt[len(self.prompt) - self.written :]

    def __post_init__(self) -> None:
        if not self.prompt:
            raise ValueError("the prompt is empty; it must have at least one id")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; it must be at least 1")
        if self.logprobs is not None and not 0 <= self.logprobs <= MOST_LOGPROBS:
            raise ValueError(f"logprobs is {self.logprobs}; it must be from 0 to {MOST_LOGPROBS}")
        if self.prompt_logprobs and self.logprobs is None:
            raise ValueError("prompt_logprobs needs logprobs")
        if not 0 <= self.written < len(self.prompt):
            raise ValueError(f"written is {self.written}; it must be from 0 to less than the prompt's ids")


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnToken:
    """An id of the answer, and how likely the model itself found it.

    Natural logarithms of the softmax of the model's own logits: before penalties, bias, temperature, grammar and what
    else restricts the draw. By token: a character of several tokens has an entry for each.
    """

    id: int
    logprob: float
    top: Sequence[tuple[int, float]] = ()
    """The likeliest ids, the likeliest first, as many as were asked for."""


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
    drawn: Sequence[DrawnToken] = ()
    """The ids that were computed since the chunk before, where the request asks for `logprobs`."""
    read: Sequence[DrawnToken] = ()
    """Ids of the prompt that were read since the chunk before, where the request asks for `prompt_logprobs`."""
    cached: int = 0
    """On the first chunk: ids of the prompt whose keys and values were there already."""
    ids: Sequence[int] = ()
    """Those that were computed since the chunk before, from an engine that can go on behind them (`written`)."""


class Engine(Protocol):
    """A loaded model that continues texts, for at most `parallel` callers at a time, each in a thread of its own."""

    tokenizer: Tokenizer
    context: int
    """Tokens that prompt and answer can have together."""
    parameters: int
    parallel: int

    def check(self, request: GenerationRequest) -> None:
        """ValueError, in one sentence, when the prompt does not fit or a field of `request` cannot be honoured."""
        ...

    def generate(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[TextChunk]:
        """Yield the answer as it is computed; exactly one chunk, the last, says why it ended.

        Prompts are read in pieces, with an empty chunk after each. Once `cancelled` is set the computing ends at the
        next piece or token, and nothing more is yielded. ValueError as by `check`, before anything is computed.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds; it answers nothing after that."""
        ...


@runtime_checkable
class Delivers(Protocol):
    """An engine that hands chunks on as they come, without a thread that waits for each."""

    def deliver(self, request: GenerationRequest, cancelled: threading.Event, put: Callable[[TextChunk], None]) -> None:
        """As `Engine.generate`, but each chunk goes to `put`, from any thread; returns behind the last."""
        ...


def load_shape(folder: Path) -> ModelConfig:
    """Shape of a folder of weights; UserError when it is not there."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder of a release or of weights")
    try:
        return load_config(folder)
    except (ValueError, OSError) as error:
        raise UserError(f"{folder} cannot be served: {error}") from error


def load_tokenizer_and_config(folder: Path) -> tuple[Tokenizer, ModelConfig]:
    """Tokenizer and shape of a folder of weights; UserError when they are not there or do not belong together."""
    config = load_shape(folder)
    try:
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


def check_ids(request: GenerationRequest, vocabulary: int) -> None:
    """ValueError where the prompt or `logit_bias` has an id that a model of so many does not."""
    for name, ids in (("the prompt", request.prompt), ("logit_bias", request.sampling.logit_bias)):
        wrong = next((token for token in ids if not 0 <= token < vocabulary), None)
        if wrong is not None:
            raise ValueError(f"{name} has the id {wrong}, and the model those from 0 to {vocabulary - 1}")


def check_adapter(name: str | None, known: Mapping[str, object]) -> None:
    """ValueError where a request asks for an adapter that the engine does not have."""
    if name is not None and name not in known:
        raise ValueError(f"there is no adapter {name!r} on this model")


def refuse_unable(request: GenerationRequest, engine: str, *unable: str) -> None:
    """ValueError where `request` asks for a field that `engine` cannot honour; `unable` are such fields' names."""
    sampling = request.sampling
    asked = {
        "min_p": sampling.min_p > 0,
        "presence_penalty": sampling.presence_penalty != 0,
        "frequency_penalty": sampling.frequency_penalty != 0,
        "logit_bias": len(sampling.logit_bias) > 0,
        "grammar": request.grammar is not None,
        "logprobs": request.logprobs is not None,
        "adapter": request.adapter is not None,
    }
    for name in unable:
        if asked[name]:
            raise ValueError(f"the engine {engine} cannot do {name}; leave it out or choose another engine")
