"""Byte-level BPE: learnt from text in Llama 3's manner, read from Meta's `tokenizer.model`, or adopted with a
`tokenizer.json` and the settings beside it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import tiktoken
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Engine

from ayllu.text.chat import CHAT_TEMPLATE

SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where text is cut before merging (`pat_str` in meta-llama/llama-models, llama3/tokenizer.py)."""

BOS, EOS, EOT, EOM = "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>"
PAD = "<|finetune_right_pad_id|>"

NAMED_SPECIAL = (
    BOS,
    EOS,
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    PAD,
    "<|step_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    EOM,
    EOT,
    "<|python_tag|>",
    "<|image|>",
)
"""Llama 3's special tokens in the order of their ids (same source)."""

META_SPECIAL = 256
"""Special tokens of Meta's vocabulary, reserved ones included."""
LEARNT_SPECIAL = 16
"""Special tokens of a vocabulary learnt here: a small vocabulary has no room for 256."""

LONGEST_PIECE = 400_000
LONGEST_RUN = 25_000
"""Characters in one call of the merger, and of one kind (space or not) in a row: the reference cuts longer text."""


def special_names(count: int) -> list[str]:
    """The first `count` special tokens: the named ones, then reserved ones."""
    reserved = (f"<|reserved_special_token_{i}|>" for i in range(2, count))
    return [*NAMED_SPECIAL, *reserved][:count]


DOCUMENT_ENDS = ("<|endoftext|>", EOS, "</s>")
"""What vocabularies call the token between two documents."""
TURN_ENDS = ("<|im_end|>", EOT, EOM)
"""What they call the end of a turn or message."""


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


class _Merger(Protocol):
    """What turns text without special tokens into ids, and ids into bytes."""

    def encode(self, text: str) -> list[int]: ...
    def encode_at(self, text: str) -> tuple[list[int], list[int]]: ...
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


class Tokenizer:
    """Text to ids and back.

    `encode` treats everything as plain text: the characters `<|eot_id|>` in a message are characters, never the end
    of a turn. Special ids are put in by `ayllu.text.chat.render` and by whoever packs documents.
    """

    def __init__(
        self,
        merger: _Merger,
        special: dict[str, int],
        size: int,
        merges: _Merges | None = None,
        *,
        marks: Marks | None = None,
        chat_template: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        marks = marks or _llama_marks(special)
        self._merger = merger
        self._merges = merges
        self._special_ids = frozenset(special.values())
        # The longest first, so that no token is taken for the beginning of another.
        names = sorted(special, key=len, reverse=True)
        self._special_text = re.compile("|".join(map(re.escape, names)) or r"(?!)")
        self._settings = settings
        self.special = special
        self.size = size
        self.bos, self.eos, self.eot, self.stops = marks.bos, marks.eos, marks.eot, marks.stops
        self.chat_template = chat_template
        """The model's own template; None for Llama 3's format, "" where the model holds no conversations."""

    @classmethod
    def learn(cls, texts: Iterable[str], size: int) -> Tokenizer:
        """Learn `size` entries, 256 bytes and 16 special tokens among them, from `texts`; ValueError below 512."""
        if size < 512:
            raise ValueError(
                f"the vocabulary size is {size}; it must be at least 512 (256 bytes, 16 special tokens, merges)"
            )
        engine = _new_engine(models.BPE(ignore_merges=True))
        trainer = trainers.BpeTrainer(
            vocab_size=size - LEARNT_SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        engine.train_from_iterator((_whole(text) for text in texts), trainer)
        _add_special(engine, special_names(LEARNT_SPECIAL))
        return cls.from_engine(engine)

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read one of `tokenizer.json` and Meta's `tokenizer.model`, or the folder that has it.

        In a folder, the settings and the chat template beside `tokenizer.json` count; a file alone must be of Llama 3's
        kind. Raises FileNotFoundError when there is none, and ValueError when it cannot be used.
        """
        if path.suffix == ".model":
            return cls.from_meta(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        if path.is_dir() and not file.is_file():
            if not (path / "tokenizer.model").is_file():
                raise FileNotFoundError(f"no tokenizer.json and no tokenizer.model in {path}")
            return cls.from_meta(path / "tokenizer.model")
        try:
            engine = Engine.from_str(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise
        except Exception as error:  # the library raises bare Exception for whatever it cannot parse
            raise ValueError(f"{file} is not a tokenizer file: {error}") from error
        return cls._from_folder(engine, path) if path.is_dir() else cls.from_engine(engine)

    @classmethod
    def from_engine(cls, engine: Engine) -> Tokenizer:
        """Wrap an engine of the `tokenizers` library that has Llama 3's special tokens."""
        return cls(_EngineMerger(engine), _special_of(engine), engine.get_vocab_size())

    @classmethod
    def _from_folder(cls, engine: Engine, folder: Path) -> Tokenizer:
        """Wrap `engine` with what the other files of `folder` say: names of tokens, stops, chat template."""
        settings = _read_object(folder / "tokenizer_config.json")
        special = _special_of(engine)
        template = _template_of(folder, settings)
        llama = all(name in special for name in (BOS, EOS, EOT))
        if llama and template in (None, CHAT_TEMPLATE):
            return cls(_EngineMerger(engine), special, engine.get_vocab_size())
        marks = _llama_marks(special) if llama else _marks_of(engine, special, settings, folder)
        stops = _read_object(folder / "generation_config.json").get("eos_token_id") or ()
        more = frozenset(stops if isinstance(stops, list) else [stops] if isinstance(stops, int) else ())
        return cls(
            _EngineMerger(engine),
            special,
            engine.get_vocab_size(),
            marks=Marks(bos=marks.bos, eos=marks.eos, eot=marks.eot, stops=marks.stops | more),
            chat_template=template or "",
            settings=settings,
        )

    @classmethod
    def from_meta(cls, path: Path) -> Tokenizer:
        """Read Meta's `tokenizer.model`: a line of base64 bytes and a rank for each entry."""
        ranks: dict[bytes, int] = {}
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            try:
                token, rank = line.split()
                ranks[base64.b64decode(token, validate=True)] = int(rank)
            except ValueError as error:
                raise ValueError(f"{path} line {number} is not a token and a rank") from error
        if len(ranks) < 256:
            raise ValueError(f"{path} has {len(ranks)} entries; a byte-level vocabulary has at least 256")
        special = {name: len(ranks) + i for i, name in enumerate(special_names(META_SPECIAL))}
        return cls(_MetaMerger(ranks, special), special, len(ranks) + META_SPECIAL, _Merges(ranks))

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without BOS; lone surrogates become U+FFFD."""
        return self._merger.encode(_whole(text))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for many texts, on all cores."""
        return self._merger.encode_batch([_whole(text) for text in texts])

    def encode_rendered(self, text: str, mark: str) -> tuple[list[int], list[int]]:
        """Ids of what a chat template wrote, and where in `text` each begins.

        Special tokens that `text` spells become their ids. Those that have `mark` inside are characters, and `mark`
        itself is nothing.
        """
        ids: list[int] = []
        starts: list[int] = []
        at = 0
        for found in [*self._special_text.finditer(text), None]:
            run = text[at : found.start() if found else len(text)]
            kept = [at + i for i, character in enumerate(run) if character != mark]
            merged, places = self._merger.encode_at(_whole(run.replace(mark, "")))
            ids += merged
            starts += [kept[place] for place in places]
            if found:
                ids.append(self.special[found[0]])
                starts.append(found.start())
                at = found.end()
        return ids, starts

    @property
    def named(self) -> dict[str, str]:
        """Special tokens by the names that chat templates know, such as `bos_token`."""
        if self._settings is None:
            return {"bos_token": BOS, "eos_token": EOT}
        found = {name: _token_text(self._settings.get(name)) for name in ("bos_token", "eos_token", "pad_token")}
        return {name: token for name, token in found.items() if token is not None}

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Text of `ids`; bytes that are not UTF-8 become U+FFFD."""
        if skip_special:
            ids = [i for i in ids if i not in self._special_ids]
        return self._merger.decode(ids)

    def engine(self) -> Engine:
        """The same vocabulary as an engine of the `tokenizers` library, special tokens included."""
        if isinstance(self._merger, _EngineMerger):
            return Engine.from_str(self._merger.engine.to_str())
        assert self._merges is not None
        engine = _new_engine(self._merges.model())
        _add_special(engine, list(self.special))
        return engine

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, tokenizer_config.json, special_tokens_map.json and chat_template.jinja."""
        _write(folder / "tokenizer.json", self.engine().to_str(pretty=True))
        names, template = self.named, CHAT_TEMPLATE if self.chat_template is None else self.chat_template
        if self._settings is None and PAD in self.special:
            names["pad_token"] = PAD
        own = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],
            **names,
        }
        config = {**(own if self._settings is None else self._settings), "chat_template": template or None}
        _write(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")
        _write(folder / "special_tokens_map.json", json.dumps(names, indent=2) + "\n")
        if template:
            _write(folder / "chat_template.jinja", template)


class _EngineMerger:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._plain = Engine.from_str(engine.to_str())
        self._plain.encode_special_tokens = True

    def encode(self, text: str) -> list[int]:
        return self._plain.encode(text, add_special_tokens=False).ids

    def encode_at(self, text: str) -> tuple[list[int], list[int]]:
        found = self._plain.encode(text, add_special_tokens=False)
        return found.ids, [start for start, _ in found.offsets]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [e.ids for e in self._plain.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        return self.engine.decode(list(ids), skip_special_tokens=False)


class _MetaMerger:
    def __init__(self, ranks: dict[bytes, int], special: dict[str, int]) -> None:
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


class _Merges:
    """Ranks as vocabulary and merges, which is how `tokenizer.json` says the same."""

    def __init__(self, ranks: dict[bytes, int]) -> None:
        self._ranks = ranks

    def model(self) -> models.BPE:
        """Every way to halve a token into two known ones is a merge, in the order of the token's rank."""
        letters = _byte_letters()
        names = {token: "".join(letters[b] for b in token) for token in self._ranks}
        merges: list[tuple[str, str]] = []
        for token in sorted(self._ranks, key=self._ranks.__getitem__):
            halves = [(token[:i], token[i:]) for i in range(1, len(token))]
            known = [(a, b) for a, b in halves if a in self._ranks and b in self._ranks]
            known.sort(key=lambda pair: (self._ranks[pair[0]], self._ranks[pair[1]]))
            merges += [(names[a], names[b]) for a, b in known]
        vocabulary = {names[token]: rank for token, rank in self._ranks.items()}
        return models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True)


def _special_of(engine: Engine) -> dict[str, int]:
    return {t.content: i for i, t in sorted(engine.get_added_tokens_decoder().items()) if t.special}


def _llama_marks(special: Mapping[str, int]) -> Marks:
    missing = [name for name in (BOS, EOS, EOT) if name not in special]
    if missing:
        raise ValueError(f"the tokenizer has no {' and no '.join(missing)}; Llama 3's chat format needs it")
    stops = frozenset(special[name] for name in (EOS, EOT, EOM) if name in special)
    return Marks(bos=special[BOS], eos=special[EOS], eot=special[EOT], stops=stops)


def _marks_of(engine: Engine, special: Mapping[str, int], settings: Mapping[str, Any], folder: Path) -> Marks:
    """The marks of a vocabulary that is not Llama 3's, from the names in `tokenizer_config.json`.

    A vocabulary with a token between documents begins texts with it, unless its own tokenizer puts another one there:
    SmolLM2 calls <|im_start|> its `bos_token`, but that begins turns, never documents.
    """
    last = _token_text(settings.get("eos_token"))
    turn = engine.token_to_id(last) if last is not None else None
    if turn is None:
        raise ValueError(f"{folder / 'tokenizer_config.json'} names no eos_token of the vocabulary; add one")
    between = next((special[name] for name in DOCUMENT_ENDS if name in special), turn)
    first = _token_text(settings.get("bos_token"))
    put = engine.encode("a").ids[:1]
    begins = first is not None and put == [engine.token_to_id(first)]
    ends = frozenset(special[name] for name in TURN_ENDS if name in special)
    return Marks(bos=put[0] if begins else between, eos=between, eot=turn, stops=ends | {between, turn})


def _token_text(token: Any) -> str | None:
    """A token of `tokenizer_config.json`, which is a string or an object with `content`."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def _template_of(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The chat template of a folder: a file of its own, or a setting, which may be a list of named ones."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = settings.get("chat_template")
    if isinstance(found, list):
        named = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def _read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no such file."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error})") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{path} holds no JSON object")
    return fields


def _new_engine(model: models.BPE) -> Engine:
    engine = Engine(model)
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    engine.decoder = decoders.ByteLevel()
    return engine


def _add_special(engine: Engine, names: list[str]) -> None:
    engine.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    bos = engine.token_to_id(BOS)
    engine.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, bos)]
    )


def _byte_letters() -> dict[int, str]:
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


def _whole(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates replaced by U+FFFD, as tiktoken does it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
