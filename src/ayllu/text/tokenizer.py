"""Byte-level BPE in Llama 3's manner: learnt from text, or read from a `tokenizer.json` or Meta's `tokenizer.model`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

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


class _Merger(Protocol):
    """What turns text without special tokens into ids, and ids into bytes."""

    def encode(self, text: str) -> list[int]: ...
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


class Tokenizer:
    """Text to ids and back.

    `encode` treats everything as plain text: the characters `<|eot_id|>` in a message are characters, never the end
    of a turn. Special ids are put in by `ayllu.text.chat.render` and by whoever packs documents.
    """

    def __init__(self, merger: _Merger, special: dict[str, int], size: int, merges: _Merges | None = None) -> None:
        missing = [name for name in (BOS, EOS, EOT) if name not in special]
        if missing:
            raise ValueError(f"the tokenizer has no {' and no '.join(missing)}; Llama 3's chat format needs it")
        self._merger = merger
        self._merges = merges
        self._special_ids = frozenset(special.values())
        self.special = special
        self.size = size
        self.bos, self.eos, self.eot = special[BOS], special[EOS], special[EOT]
        self.stops = frozenset(special[name] for name in (EOS, EOT, EOM) if name in special)

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

        Raises FileNotFoundError when there is none, and ValueError when it is no tokenizer of Llama 3's kind.
        """
        if path.is_dir():
            found = [path / name for name in ("tokenizer.json", "tokenizer.model") if (path / name).is_file()]
            if not found:
                raise FileNotFoundError(f"no tokenizer.json and no tokenizer.model in {path}")
            path = found[0]
        if path.suffix == ".model":
            return cls.from_meta(path)
        try:
            engine = Engine.from_str(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise
        except Exception as error:  # the library raises bare Exception for whatever it cannot parse
            raise ValueError(f"{path} is not a tokenizer file: {error}") from error
        return cls.from_engine(engine)

    @classmethod
    def from_engine(cls, engine: Engine) -> Tokenizer:
        """Wrap an engine of the `tokenizers` library."""
        special = {t.content: i for i, t in sorted(engine.get_added_tokens_decoder().items()) if t.special}
        return cls(_EngineMerger(engine), special, engine.get_vocab_size())

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
        names = {"bos_token": BOS, "eos_token": EOT}
        if PAD in self.special:
            names["pad_token"] = PAD
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],
            "chat_template": CHAT_TEMPLATE,
            **names,
        }
        _write(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")
        _write(folder / "special_tokens_map.json", json.dumps(names, indent=2) + "\n")
        _write(folder / "chat_template.jinja", CHAT_TEMPLATE)


class _EngineMerger:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._plain = Engine.from_str(engine.to_str())
        self._plain.encode_special_tokens = True

    def encode(self, text: str) -> list[int]:
        return self._plain.encode(text, add_special_tokens=False).ids

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
