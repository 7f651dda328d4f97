"""What the rounding of an export loses: bits per byte of held-out text beside the weights in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.release.exports.texts import MEASURED
from ayllu.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from ayllu.model.transformer import Transformer

MOST_LOST = 0.1
"""Bits per byte: a guard against files that hold another model or are rounded badly, no mark of quality."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Bits per byte of the same texts before and after; None where no text could be had."""

    before: float | None
    lost: float | None
    text: str | None
    """What it was measured on: a name of ours or the user's file; None where every weight is the same."""

    def sentence(self) -> str:
        """What is lost, in words."""
        if self.lost is None:
            return "what it loses was not measured"
        if self.text is None:
            return "every weight is kept, so that nothing is lost"
        return f"it loses {self.lost:.5f} bits per byte of {self.text} against float32, which needs {self.before:.5f}"

    @classmethod
    def none(cls) -> Loss:
        """Of an export that holds every weight bit for bit."""
        return cls(before=None, lost=0.0, text=None)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How much an export may lose, and on which text."""

    most_lost: float | None = None
    """Bits per byte; None: `MOST_LOST`, and where no text can be had it is only said."""
    text: Path | None = None
    """A file or folder of the user's; None: the held-out text of ours."""

    def check(self, loss: Loss, what: str) -> None:
        """Raises UserError where more is lost."""
        most = MOST_LOST if self.most_lost is None else self.most_lost
        if loss.lost is not None and not loss.lost <= most:
            raise UserError(
                f"{what} loses {loss.lost:.4f} bits per byte on held-out text and may lose {most:g}: choose a type of "
                "more bits, or allow more with --most-lost"
            )


def measure(before: Transformer, after: Transformer | Runner, tokenizer: Tokenizer, limit: Limit) -> Loss:
    """What `after` loses: weights computed in float32, or whatever its own runner makes of them.

    Raises UserError where it cannot be measured though the user set a limit.
    """
    from ayllu.model.transformer import Transformer
    from ayllu.release.exports import texts

    if isinstance(after, Transformer) and same_weights(before, after):
        return Loss.none()
    try:
        most = MEASURED if isinstance(after, Transformer) else after.measured
        documents = texts.held_out(tokenizer, limit.text, most)
    except UserError as error:
        if limit.most_lost is not None or limit.text is not None:
            raise
        say(f"what the rounding loses is not measured: {error}")
        return Loss(before=None, lost=None, text=None)
    if isinstance(after, Transformer):
        bits = [_bits_per_byte(model, tokenizer, documents) for model in (before, after)]
    else:
        runners = (TorchRunner(before), after)
        bits = [_bits_of_runner(runner, tokenizer, documents, after.longest) for runner in runners]
    name = "BoolQ" if limit.text is None else limit.text.name
    return Loss(before=round(bits[0], 5), lost=round(bits[1] - bits[0], 5) + 0.0, text=name)


class Runner(Protocol):
    """What computes an export that we cannot read back as weights."""

    longest: int
    """Ids that it takes at once."""
    measured: int
    """Tokens of our own texts that it is measured on."""

    def logits(self, ids: Sequence[int]) -> NDArray[Any]:
        """(T, V) after each of `ids`."""


def _bits_of_runner(runner: Runner, tokenizer: Tokenizer, documents: list[tuple[str, str]], longest: int) -> float:
    """As `_bits_per_byte`, in windows that do not overlap."""
    nats, size = 0.0, 0
    for _, text in documents:
        ids = [tokenizer.bos, *tokenizer.encode(text)]
        size += len(text.encode())
        for first in range(0, len(ids) - 1, longest):
            window = ids[first : first + longest + 1]
            logits = runner.logits(window[:-1]).astype(np.float64)
            chosen = logits[np.arange(len(window) - 1), window[1:]]
            nats += float((np.logaddexp.reduce(logits, axis=-1) - chosen).sum())
    return nats / math.log(2) / size


class TorchRunner:
    """Our transformer in float32."""

    def __init__(self, model: Transformer) -> None:
        self._model, self.longest, self.measured = model.eval(), model.config.context, MEASURED

    def logits(self, ids: Sequence[int]) -> NDArray[Any]:
        with torch.inference_mode():
            return np.asarray(self._model(torch.tensor([list(ids)]))[0])


def _bits_per_byte(model: Transformer, tokenizer: Tokenizer, documents: list[tuple[str, str]]) -> float:
    from ayllu.evals.likelihood.heldout import document_bits

    found = list(document_bits(model.eval(), tokenizer, documents))
    return sum(one.bits for one in found) / sum(one.bytes for one in found)


def same_weights(one: Transformer, other: Transformer) -> bool:
    """Whether both compute the same: configuration and every weight."""
    a, b = one.state_dict(), other.state_dict()
    return one.config == other.config and all(torch.equal(a[name], b[name]) for name in a)
