"""Which of the drawn ids an answer's text consists of, where in it each begins, and how they are told."""

from __future__ import annotations

import codecs
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from ayllu.serve.engines.engine import DrawnToken
from ayllu.text.tokenizer import Tokenizer

UNLIKELIEST = -9999.0
"""What OpenAI's API writes for ids that cannot come."""


class Places:
    """Counts characters along ids: an id that goes on with a character has the place where that began.

    Special ids are no text but those that are `shown`, as in `GenerationRequest`.
    """

    def __init__(self, tokenizer: Tokenizer, start: int = 0, shown: Collection[int] = ()) -> None:
        self._tokenizer, self._shown = tokenizer, frozenset(shown)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at = start

    def next(self, token: int) -> int:
        """Where the text of `token`, which follows those before, begins."""
        place = self._at
        self._at += len(self._decoder.decode(text_bytes(self._tokenizer, token, self._shown)))
        return place


class DrawnText:
    """Lets drawn ids through as soon as the text in which they begin is there.

    Those that a stop string was made of are never told, as they are no part of the answer.
    """

    def __init__(self, tokenizer: Tokenizer, shown: Collection[int] = ()) -> None:
        self._places = Places(tokenizer, shown=shown)
        self._waiting: list[tuple[int, DrawnToken]] = []
        self._length = 0

    def push(self, drawn: Iterable[DrawnToken], text: str) -> list[DrawnToken]:
        """The ids that are certain now that `drawn` and `text` have come."""
        self._waiting += [(self._places.next(token.id), token) for token in drawn]
        self._length += len(text)
        told = [token for place, token in self._waiting if place < self._length]
        self._waiting = [entry for entry in self._waiting if entry[0] >= self._length]
        return told

    def flush(self) -> list[DrawnToken]:
        """Those that are left where no stop string ended the answer, such as special tokens."""
        left, self._waiting = [token for _, token in self._waiting], []
        return left


def shown_token(tokenizer: Tokenizer, number: int) -> str:
    """An id for people to read; a part of a character as OpenAI's API writes its bytes."""
    data = tokenizer.bytes_of(number)
    if not data:
        return tokenizer.token(number)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def text_bytes(tokenizer: Tokenizer, number: int, shown: Collection[int] = ()) -> bytes:
    """What an id is of an answer's text: put together they are the text, where that is whole characters."""
    return tokenizer.token(number).encode() if number in shown else tokenizer.bytes_of(number)


def told_tokens(tokenizer: Tokenizer, drawn: Sequence[DrawnToken], shown: Collection[int] = ()) -> list[dict[str, Any]]:
    """Ids as OpenAI's chat completions and responses tell them: one entry each, with all that was drawn beside it."""

    def told(number: int, logprob: float) -> dict[str, Any]:
        data = list(text_bytes(tokenizer, number, shown))
        return {"token": shown_token(tokenizer, number), "logprob": finite(logprob), "bytes": data}

    return [{**told(token.id, token.logprob), "top_logprobs": [told(*entry) for entry in token.top]} for token in drawn]


def finite(logprob: float) -> float:
    """A log-probability that JSON can say."""
    return logprob if math.isfinite(logprob) and logprob > UNLIKELIEST else UNLIKELIEST
