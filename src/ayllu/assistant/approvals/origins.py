"""Where the arguments of a call came from: the user's words, text that others wrote, or the model itself."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

USER, MODEL, UNTRUSTED = "you", "the model", "untrusted: "
SHORT = 3
"""Letters of a text that says where it came from; a shorter one stands everywhere."""


def origins_of(
    arguments: Mapping[str, Any], *, user_words: Sequence[str], untrusted: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """For each argument `you`, `untrusted: SOURCE` or `the model`; a part that others wrote makes all of it theirs."""
    said = [_plain(words) for words in user_words]
    others = [(source, _plain(text)) for source, text in untrusted]
    found = {}
    for name, value in arguments.items():
        origins = {_origin(_plain(text), said, others) for text in _texts(value)}
        theirs = sorted(origin for origin in origins if origin.startswith(UNTRUSTED))
        found[name] = theirs[0] if theirs else MODEL if MODEL in origins or not origins else USER
    return found


def _origin(text: str, said: Sequence[str], others: Sequence[tuple[str, str]]) -> str:
    if any(text in words for words in said):
        return USER
    for source, words in others:
        if len(text) >= SHORT and (text in words or _mostly(text, words)):
            return UNTRUSTED + source
    return MODEL


def _mostly(text: str, words: str) -> bool:
    """Whether a long text shares half of its runs of four words with `words`: copied, with small changes."""
    runs = text.split()
    if len(runs) < 6:
        return False
    pieces = [" ".join(runs[at : at + 4]) for at in range(len(runs) - 3)]
    return 2 * sum(piece in words for piece in pieces) >= len(pieces)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for entry in value.values():
            yield from _texts(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _texts(entry)
    elif value is not None:
        yield str(value)


def _plain(text: str) -> str:
    """Compared without case, forms of letters and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
