"""Byte pair encoding by two engines: the library `tokenizers`, and tiktoken for Meta's file of ranks.

Both are exact, and each reads the files that it was made for.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import tiktoken
from tokenizers import AddedToken, Encoding, Regex, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as Engine

from ayllu.text.llama3_format import BOS, SPLIT_PATTERN

LONGEST_PIECE = 400_000
LONGEST_RUN = 25_000
"""Characters in one call of tiktoken, and of one kind (space or not) in a row: the reference cuts longer text."""

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
"""How vocabularies of sentencepiece write a byte."""
LONG = 4096
"""Characters from which on a text is worth a thread of the library."""


class BPE(Protocol):
    """What turns text without special tokens into ids, and ids into bytes."""

    def encode(self, text: str) -> list[int]: ...
    def encode_at(self, text: str) -> tuple[list[int], list[int]]: ...
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def bytes_of(self, number: int) -> bytes: ...


class EngineBPE:
    """By the library `tokenizers`: what a `tokenizer.json` says. To its engine special tokens are characters."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # A copy for plain text would take as long as reading the file did, and what is written (`to_str`) is the same.
        engine.encode_special_tokens = True

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.engine.encode_special_tokens = True  # which no copy of an engine has, nor one in another process

    def encode(self, text: str) -> list[int]:
        return self._encoded(text).ids

    def _encoded(self, text: str) -> Encoding:
        if len(text) < LONG:
            return self.engine.encode(text, add_special_tokens=False)
        # For a batch, and for it only, the library lets Python's other threads run: a server has some.
        return self.engine.encode_batch([text], add_special_tokens=False)[0]

    def encode_at(self, text: str) -> tuple[list[int], list[int]]:
        found = self._encoded(text)
        return found.ids, [start for start, _ in found.offsets]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [e.ids for e in self.engine.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        return self.engine.decode(list(ids), skip_special_tokens=False)

    def bytes_of(self, number: int) -> bytes:
        """The bytes of one id, which may be a part of a character; vocabularies of bytes, and those with U+2581."""
        if number in self._added:
            return self._added[number].encode()
        token = self.engine.id_to_token(number) or ""
        if self._letters:
            return b"".join(self._letters.get(letter, letter.encode()) for letter in token)
        byte = _BYTE.fullmatch(token)
        return bytes([int(byte[1], 16)]) if byte else token.replace("\u2581", " ").encode()

    @functools.cached_property
    def _added(self) -> dict[int, str]:
        return {number: token.content for number, token in self.engine.get_added_tokens_decoder().items()}

    @functools.cached_property
    def _letters(self) -> dict[str, bytes]:
        """What each letter of a vocabulary of bytes stands for; nothing in other vocabularies."""
        if '"ByteLevel"' not in json.dumps(json.loads(self.engine.to_str()).get("decoder")):
            return {}
        return {letter: bytes([byte]) for byte, letter in byte_letters().items()}


class MetaBPE:
    """By tiktoken: bytes and their ranks, as Meta's `tokenizer.model` has them."""

    def __init__(self, ranks: dict[bytes, int], special: dict[str, int]) -> None:
        self.ranks = ranks
        self._encoding = tiktoken.Encoding(
            name="llama-3", pat_str=SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens=special
        )

    def encode(self, text: str) -> list[int]:
        pieces = (text[i : i + LONGEST_PIECE] for i in range(0, len(text), LONGEST_PIECE))
        runs = (run for piece in pieces for run in _split_runs(piece))
        return [i for run in runs for i in self._encoding.encode_ordinary(run)]

    def encode_at(self, text: str) -> tuple[list[int], list[int]]:
        ids = self.encode(text)
        return ids, self._encoding.decode_with_offsets(ids)[1]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return self._encoding.decode(list(ids))

    def bytes_of(self, number: int) -> bytes:
        try:
            return self._encoding.decode_single_token_bytes(number)
        except KeyError:
            return b""


def ranks_model(ranks: Mapping[bytes, int]) -> models.BPE:
    """Ranks as vocabulary and merges, which is how `tokenizer.json` says the same.

    Every way to halve a token into two known ones is a merge, in the order of the token's rank.
    """
    letters = byte_letters()
    names = {token: "".join(letters[b] for b in token) for token in ranks}
    merges: list[tuple[str, str]] = []
    for token in sorted(ranks, key=ranks.__getitem__):
        halves = [(token[:i], token[i:]) for i in range(1, len(token))]
        known = [(a, b) for a, b in halves if a in ranks and b in ranks]
        known.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges += [(names[a], names[b]) for a, b in known]
    vocabulary = {names[token]: rank for token, rank in ranks.items()}
    return models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True)


def new_engine(model: models.BPE) -> Engine:
    """An engine that cuts text as Llama 3 does; without special tokens yet."""
    engine = Engine(model)
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    engine.decoder = decoders.ByteLevel()
    return engine


def add_special(engine: Engine, names: list[str]) -> None:
    """Put special tokens behind the vocabulary, BOS before every text."""
    engine.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    bos = engine.token_to_id(BOS)
    engine.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, bos)]
    )


def byte_letters() -> dict[int, str]:
    """The printable letter that stands for each byte in GPT-2's notation (`bytes_to_unicode` in openai/gpt-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = {b: chr(b) for b in printable}
    others = (b for b in range(256) if b not in letters)
    return letters | {b: chr(256 + i) for i, b in enumerate(others)}


def _split_runs(text: str) -> Iterator[str]:
    """Cut `text` so that no piece has more than LONGEST_RUN characters in a row that are all space or all not."""
    start = length = 0
    space: bool | None = None
    for i, character in enumerate(text):
        if character.isspace() is not space:
            space, length = character.isspace(), 1
            continue
        length += 1
        if length > LONGEST_RUN:
            yield text[start:i]
            start, length = i, 1
    if start < len(text):
        yield text[start:]


def valid_text(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates replaced by U+FFFD, as tiktoken does it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
