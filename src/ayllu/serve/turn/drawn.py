"""Which of the drawn ids an answer's text consists of, and where in it each begins."""

from __future__ import annotations

import codecs
from collections.abc import Iterable

from ayllu.serve.engines.engine import DrawnToken
from ayllu.text.tokenizer import Tokenizer


class Places:
    """Counts characters along ids: an id that goes on with a character has the place where that began."""

    def __init__(self, tokenizer: Tokenizer, start: int = 0) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at = start

    def next(self, token: int) -> int:
        """Where the text of `token`, which follows those before, begins."""
        place = self._at
        self._at += len(self._decoder.decode(self._tokenizer.bytes_of(token)))
        return place


class DrawnText:
    """Lets drawn ids through as soon as the text in which they begin is there.

    Those that a stop string was made of are never told, as they are no part of the answer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._places = Places(tokenizer)
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
