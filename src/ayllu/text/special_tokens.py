"""What the files of an adopted model say of its special tokens: names, flags, and what begins and ends a text.

All of them count: `tokenizer_config.json`, `special_tokens_map.json`, `config.json` and `generation_config.json`.
Source: `_from_pretrained` and `TokenizersBackend` in transformers 5.23.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Engine

from ayllu.text.llama3_format import BOS, EOM, EOS, EOT

CONFIG, GENERATION = "config.json", "generation_config.json"
SETTINGS, SPECIAL_MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Names that files give to special tokens (`SPECIAL_TOKENS_ATTRIBUTES` in transformers)."""
DOCUMENT_ENDS = ("<|endoftext|>", EOS, "</s>")
"""What vocabularies call the token between two documents."""
_SPACE = frozenset("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {chr(i) for i in range(0x2000, 0x200B)}
"""Unicode's White_Space, which flags of added tokens strip; `str.isspace` has four separators more."""
_DEFAULT_EOS = 2
"""What `LlamaConfig` writes into `config.json` when nobody said which id ends a text."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The ids that begin and end things."""

    bos: int
    """Stands before a document, in training and when a text is measured."""
    eos: int
    """Stands behind a document."""
    eot: int
    """Ends a turn."""
    stops: frozenset[int]
    """Each of them ends a reply."""
    origins: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Which files name each stop."""


@dataclass(frozen=True, kw_only=True)
class FolderSettings:
    """What stands beside `tokenizer.json` in a folder; empty where a file is missing."""

    folder: Path
    settings: dict[str, Any]
    """`tokenizer_config.json`."""
    special_map: dict[str, Any]
    added: dict[str, Any]
    """`added_tokens.json` of older folders: ids by token."""
    config: dict[str, Any]
    generation: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> FolderSettings:
        """Raises ValueError for a file that is there and no JSON object."""
        return cls(
            folder=folder,
            settings=read_object(folder / SETTINGS),
            special_map=read_object(folder / SPECIAL_MAP),
            added=read_object(folder / ADDED),
            config=read_object(folder / CONFIG),
            generation=read_object(folder / GENERATION),
        )

    def padded_with(self, token: str | None) -> FolderSettings:
        """The same, where the tokenizer's own file says what rows were filled up with and no other names a pad."""
        if token is None or "pad_token" in self.settings:
            return self
        return replace(self, settings={**self.settings, "pad_token": token})

    @property
    def names(self) -> dict[str, str]:
        """Special tokens by name; `special_tokens_map.json` counts more in folders without `added_tokens_decoder`."""
        first, then = self.settings, self.special_map
        if "added_tokens_decoder" not in self.settings:
            first, then = then, first
        found = {name: token_text(first.get(name)) or token_text(then.get(name)) for name in NAMES}
        return {name: token for name, token in found.items() if token is not None}

    @property
    def states_nothing(self) -> bool:
        """Whether the tokenizer's file stands alone."""
        return not (self.settings or self.special_map or self.config or self.generation)

    def rows(self) -> int | None:
        """Rows of the model's embedding, as `config.json` says."""
        rows = self.config.get("vocab_size")
        return rows if isinstance(rows, int) else None


def complete(engine: Engine, stated: FolderSettings) -> None:
    """Give `engine` the special tokens that only other files name, and take truncation and padding from it.

    A file that was saved after training says how rows were cut and filled there; texts here are taken whole. Raises
    ValueError where a token would get another id than the one that is stated.
    """
    engine.no_truncation()
    engine.no_padding()
    known = engine.get_added_tokens_decoder()
    flags_count = "added_tokens_decoder" in stated.settings
    for number, token in _listed_tokens(stated):
        there = known.get(number)
        if there is not None and (repr(there) == repr(token) or (there.content == token.content and not flags_count)):
            continue
        engine.add_tokens([token])
        if engine.token_to_id(token.content) != number:
            where = SETTINGS if flags_count else ADDED
            raise ValueError(
                f"{stated.folder / where} gives {token.content!r} the id {number}, but behind the vocabulary it is "
                f"{engine.token_to_id(token.content)}"
            )
    added = {token.content for token in engine.get_added_tokens_decoder().values()}
    for token in _named_tokens(stated):
        # A token that the embedding has no row for, such as a [PAD] of the training script, cannot be read anyway.
        has_row = engine.get_vocab_size() < (stated.rows() or 1 << 62)
        if token.content not in added and (engine.token_to_id(token.content) is not None or has_row):
            engine.add_special_tokens([token])


def _listed_tokens(stated: FolderSettings) -> list[tuple[int, AddedToken]]:
    listed = stated.settings.get("added_tokens_decoder")
    try:
        if listed is None:
            special = stated.names.values()
            return sorted(
                ((int(i), AddedToken(token, special=token in special)) for token, i in stated.added.items()),
                key=lambda pair: pair[0],
            )
        return sorted(((int(i), _added_token(fields)) for i, fields in listed.items()), key=lambda pair: pair[0])
    except (AttributeError, TypeError, ValueError) as error:
        where = stated.folder / (ADDED if listed is None else SETTINGS)
        raise ValueError(f"{where} lists added tokens in a way that cannot be read ({error})") from None


def _added_token(fields: Mapping[str, Any]) -> AddedToken:
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return AddedToken(fields["content"], **{name: bool(fields[name]) for name in flags if name in fields})


def _named_tokens(stated: FolderSettings) -> Iterator[AddedToken]:
    """The tokens that have a name or are listed as special ones."""
    for name in NAMES:
        for fields in (stated.settings.get(name), stated.special_map.get(name)):
            if (text := token_text(fields)) and text == stated.names.get(name):
                yield _special_token(fields, text)
    for source in (stated.settings, stated.special_map):
        for key in ("extra_special_tokens", "additional_special_tokens"):
            more = source.get(key) or ()
            for fields in more.values() if isinstance(more, dict) else more if isinstance(more, list) else ():
                if text := token_text(fields):
                    yield _special_token(fields, text)


def _special_token(fields: Any, text: str) -> AddedToken:
    if isinstance(fields, dict):
        return _added_token({**fields, "special": True})
    return AddedToken(text, special=True, normalized=False)


def find_marks(engine: Engine, special: Mapping[str, int], stated: FolderSettings, *, size: int, chat: bool) -> Marks:
    """What begins and ends texts and replies in an adopted vocabulary; `chat` says whether it has a chat template.

    The stops are those that any file names, and in a chat vocabulary the token between documents. Such a vocabulary
    begins texts with that, unless its own tokenizer puts another one there: SmolLM2 calls <|im_start|> its `bos_token`,
    but that begins turns, never documents. Raises ValueError when no file names a token that ends a text.
    """
    origins = stated_stops(engine, stated, size)
    last = engine.token_to_id(stated.names.get("eos_token", ""))
    turn = last if last is not None else next(iter(origins), None)
    if turn is None:
        raise ValueError(f"{stated.folder / SETTINGS} names no eos_token of the vocabulary; add one")
    between = next((special[name] for name in DOCUMENT_ENDS if chat and name in special), turn)
    if between not in origins:
        origins[between] = ("the end of a document",)
    first = engine.token_to_id(stated.names.get("bos_token", ""))
    begins = engine.encode("a").ids[:1] == [first]
    return Marks(
        bos=first if begins and first is not None else between,
        eos=between,
        eot=turn,
        stops=frozenset(origins),
        origins=origins,
    )


def stated_stops(engine: Engine, stated: FolderSettings, size: int) -> dict[int, tuple[str, ...]]:
    """Every id that ends a text by what a file says, and the files that say so.

    Ids beyond the `size` of the vocabulary and the rows of the embedding do not count.
    """
    size = max(size, stated.rows() or 0)
    named: list[tuple[str, list[int]]] = []
    for file, fields in ((SETTINGS, stated.settings), (SPECIAL_MAP, stated.special_map)):
        text = token_text(fields.get("eos_token"))
        number = engine.token_to_id(text) if text else None
        named.append((file, [] if number is None else [number]))
    drawn, _ = token_ids(stated.generation.get("eos_token_id"), size)
    built, _ = token_ids(stated.config.get("eos_token_id"), size)
    if drawn and built == [_DEFAULT_EOS] and _DEFAULT_EOS not in engine.get_added_tokens_decoder():
        # Nobody stated it: it is a piece of text, and a file that counts more says what ends a text.
        built = [i for i in built if i in drawn]
    origins: dict[int, tuple[str, ...]] = {}
    for file, ids in (*named, (CONFIG, built), (GENERATION, drawn)):
        for i in ids:
            origins[i] = (*origins.get(i, ()), file)
    return origins


def token_ids(value: Any, size: int) -> tuple[list[int], list[Any]]:
    """The ids below `size` in a setting, which is one id, a list or nothing; and what stands there beside them."""
    if value is None:
        return [], []
    entries = value if isinstance(value, list) else [value]
    good = [i for i in entries if isinstance(i, int) and not isinstance(i, bool) and 0 <= i < size]
    return good, [i for i in entries if i not in good]


def end_of(engine: Engine) -> int:
    """The largest id and one: a vocabulary may leave ids out."""
    return 1 + max(engine.get_vocab().values(), default=-1)


def llama_marks(special: Mapping[str, int]) -> Marks:
    """Those of Llama 3's own format. Raises ValueError where the vocabulary lacks them."""
    missing = [name for name in (BOS, EOS, EOT) if name not in special]
    if missing:
        raise ValueError(f"the tokenizer has no {' and no '.join(missing)}; Llama 3's chat format needs it")
    stops = frozenset(special[name] for name in (EOS, EOT, EOM) if name in special)
    origins = dict.fromkeys(sorted(stops), ("Llama 3's chat format",))
    return Marks(bos=special[BOS], eos=special[EOS], eot=special[EOT], stops=stops, origins=origins)


class SpecialTokens:
    """Finds the added tokens that a rendered text spells, with the white space that some of them swallow.

    All of them are looked for at once, special or not, since one may hold or touch another: first those that are
    `normalized: false`, then the others in what is left (`extract_and_normalize` in tokenizers). Those that only a
    normalized text would show are left to the engine.
    """

    def __init__(
        self, special: Mapping[str, int], added: Mapping[int, AddedToken], *, normalizes: bool = False
    ) -> None:
        self._flags = {token.content: token for token in added.values()}
        later = {name for name, token in self._flags.items() if token.normalized}
        unseen = later - special.keys() if normalizes else set()
        self._ids = {**special, **{token.content: i for i, token in added.items()}}
        self._special = _any_of(special)
        self._first = _any_of(name for name in self._ids if name not in later)
        self._then = _any_of(later - unseen)

    def spelled(self, text: str) -> Iterator[tuple[int, int]]:
        """Where `text` has the characters of a special token."""
        return (found.span() for found in self._special.finditer(text))

    def find(self, text: str) -> Iterator[tuple[int, int, int, int]]:
        """Each token's id, where it begins, and the piece of `text` that it stands for (`find_matches` in tokenizers).

        `lstrip` and `rstrip` take white space along; a token of a `single_word` counts only between other characters.
        """
        done = 0
        for found in self._matches(self._first, text):
            yield from self._between(text, done, found[2])
            yield found
            done = found[3]
        yield from self._between(text, done, len(text))

    def _between(self, text: str, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        for number, *places in self._matches(self._then, text[start:end]):
            first, begun, last = (start + place for place in places)
            yield number, first, begun, last

    def _matches(self, names: re.Pattern[str], text: str) -> Iterator[tuple[int, int, int, int]]:
        done = 0
        for found in names.finditer(text):
            start, end, flags = found.start(), found.end(), self._flags.get(found[0])
            if flags is not None:
                if flags.single_word and (_is_word(text[start - 1 : start]) or _is_word(text[end : end + 1])):
                    continue
                while flags.lstrip and start > done and text[start - 1] in _SPACE:
                    start -= 1
                while flags.rstrip and end < len(text) and text[end] in _SPACE:
                    end += 1
            yield self._ids[found[0]], found.start(), start, end
            done = end


def _any_of(names: Iterable[str]) -> re.Pattern[str]:
    """The longest first, so that no token is taken for the beginning of another."""
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or r"(?!)")


def _is_word(character: str) -> bool:
    """What `\\w` is to tokenizers: accents count, which Python leaves out, and raised digits do not."""
    kind = unicodedata.category(character) if character else ""
    return kind[:1] in ("L", "M") or kind in ("Nd", "Nl", "Pc") or character in ("\u200c", "\u200d")


def token_text(token: Any) -> str | None:
    """A token of `tokenizer_config.json`, which is a string or an object with `content`."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no such file."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error})") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{path} holds no JSON object")
    return fields
