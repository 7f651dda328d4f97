"""Byte-level BPE: learnt from text in Llama 3's manner, read from Meta's `tokenizer.model`, or adopted with a
`tokenizer.json` and the settings beside it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Engine
from tokenizers import models, pre_tokenizers, trainers

from ayllu.text.bpe import BPE, EngineBPE, MetaBPE, add_special, byte_letters, new_engine, ranks_model, valid_text
from ayllu.text.llama3_format import (
    BOS,
    CHAT_TEMPLATE,
    EOS,
    EOT,
    LEARNT_SPECIAL,
    META_SPECIAL,
    PAD,
    special_names,
)
from ayllu.text.special_tokens import (
    FolderSettings,
    Marks,
    SpecialTokens,
    complete,
    end_of,
    find_marks,
    llama_marks,
    read_object,
    stated_stops,
)

NAMED_TEMPLATES = "additional_chat_templates"
"""Folder of the named templates beside `chat_template.jinja`, as transformers writes it."""
OLDER_TEMPLATE = "chat_template.json"
TOOL_USE = "tool_use"
"""The named template that transformers takes where there are tools."""


class Tokenizer:
    """Text to ids and back.

    `encode` treats everything as plain text: the characters `<|eot_id|>` in a message are characters, never the end
    of a turn. Special ids are put in by `ayllu.text.chat.render` and by whoever packs documents.
    """

    def __init__(
        self,
        bpe: BPE,
        special: dict[str, int],
        size: int,
        *,
        marks: Marks | None = None,
        chat_template: str | None = None,
        named_templates: Mapping[str, str] | None = None,
        stated: FolderSettings | None = None,
    ) -> None:
        marks = marks or llama_marks(special)
        self._bpe = bpe
        self._special_ids = frozenset(special.values())
        engine = bpe.engine if isinstance(bpe, EngineBPE) else None
        added = engine.get_added_tokens_decoder() if engine is not None else {}
        normalizes = engine is not None and engine.normalizer is not None
        self._finder = SpecialTokens(special, added, normalizes=normalizes)
        self._stated = stated
        self.special = special
        self.size = size
        """All ids are below."""
        self.bos, self.eos, self.eot, self.stops = marks.bos, marks.eos, marks.eot, marks.stops
        self.stop_origins = marks.origins
        """What says of each stop that it is one."""
        self.chat_template = chat_template
        """The model's own template; None for Llama 3's format, "" where the model holds no conversations."""
        self.named_templates = dict(named_templates or {})
        """Templates beside it, by name; `tool_use` is for conversations with tools."""

    @classmethod
    def learn(cls, texts: Iterable[str], size: int) -> Tokenizer:
        """Learn `size` entries, 256 bytes and 16 special tokens among them, from `texts`; ValueError below 512."""
        if size < 512:
            raise ValueError(
                f"the vocabulary size is {size}; it must be at least 512 (256 bytes, 16 special tokens, merges)"
            )
        engine = new_engine(models.BPE(ignore_merges=True))
        trainer = trainers.BpeTrainer(
            vocab_size=size - LEARNT_SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        engine.train_from_iterator((valid_text(text) for text in texts), trainer)
        add_special(engine, special_names(LEARNT_SPECIAL))
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
        engine.no_truncation()
        engine.no_padding()
        return cls(EngineBPE(engine), _special_of(engine), end_of(engine))

    @classmethod
    def _from_folder(cls, engine: Engine, folder: Path) -> Tokenizer:
        """Wrap `engine` with what the other files of `folder` say: names of tokens, stops, chat template.

        Without a template a model continues texts; only a file that stands alone is taken to have Llama 3's format.
        """
        stated = FolderSettings.read(folder)
        template, named = _template_of(folder, stated.settings), _named_templates(folder, stated.settings)
        alone = stated.states_nothing
        stated = stated.padded_with((engine.padding or {}).get("pad_token"))
        complete(engine, stated)
        special, size = _special_of(engine), end_of(engine)
        llama = all(name in special for name in (BOS, EOS, EOT))
        if llama and template is None and alone:
            return cls.from_engine(engine)
        native = llama and template == CHAT_TEMPLATE and not named
        if native:
            marks = _with_more(llama_marks(special), stated_stops(engine, stated, size))
        else:
            marks = find_marks(engine, special, stated, size=size, chat=bool(template))
        own = None if native else template or ""
        return cls(
            EngineBPE(engine),
            special,
            size,
            marks=marks,
            chat_template=own,
            stated=stated,
            named_templates=named,
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
        return cls(MetaBPE(ranks, special), special, len(ranks) + META_SPECIAL)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without BOS; lone surrogates become U+FFFD."""
        return self._bpe.encode(valid_text(text))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for many texts, on all cores."""
        return self._bpe.encode_batch([valid_text(text) for text in texts])

    def encode_rendered(self, text: str, mark: str) -> tuple[list[int], list[int]]:
        """Ids of what a chat template wrote, and where in `text` each begins.

        Special tokens that `text` spells become their ids. Those that have `mark` inside are characters, and `mark`
        itself is nothing.
        """
        ids: list[int] = []
        starts: list[int] = []
        at = 0
        for token, begin, start, end in [*self._finder.find(text), (None, 0, len(text), 0)]:
            run = text[at:start]
            kept = [at + i for i, character in enumerate(run) if character != mark]
            merged, places = self._bpe.encode_at(valid_text(run.replace(mark, "")))
            ids += merged
            starts += [kept[place] for place in places]
            if token is not None:
                ids.append(token)
                starts.append(begin)
                at = end
        return ids, starts

    @property
    def holds_conversations(self) -> bool:
        """Whether it has a chat template, or Llama 3's format."""
        return self.chat_template != "" or bool(self.named_templates)

    def template_for(self, *, with_tools: bool) -> str | None:
        """The template of a conversation, as transformers chooses among named ones; None for Llama 3's format."""
        return self.named_templates.get(TOOL_USE, self.chat_template) if with_tools else self.chat_template

    def special_in(self, text: str) -> Iterator[tuple[int, int]]:
        """Where `text` spells special tokens."""
        return self._finder.spelled(text)

    @property
    def named(self) -> dict[str, str]:
        """Special tokens by the names that chat templates know, such as `bos_token`."""
        return {"bos_token": BOS, "eos_token": EOT} if self._stated is None else self._stated.names

    @property
    def bos_token_id(self) -> int | None:
        """What model files call BOS: `bos`, but where that name is given to the mark of a turn, as SmolLM2 does it."""
        return self.special.get(self.named.get("bos_token", ""))

    def token(self, number: int) -> str:
        """How the id `number` is written in the vocabulary."""
        return next((name for name, i in self.special.items() if i == number), None) or self._bpe.decode([number])

    def bytes_of(self, number: int) -> bytes:
        """What the id `number` stands for in a text; a special token is no text."""
        return b"" if number in self._special_ids else self._bpe.bytes_of(number)

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Text of `ids`; bytes that are not UTF-8 become U+FFFD."""
        if skip_special:
            ids = [i for i in ids if i not in self._special_ids]
        return self._bpe.decode(ids)

    def engine(self) -> Engine:
        """The same vocabulary as an engine of the `tokenizers` library, special tokens included."""
        if isinstance(self._bpe, EngineBPE):
            return Engine.from_str(self._bpe.engine.to_str())
        assert isinstance(self._bpe, MetaBPE)
        engine = new_engine(ranks_model(self._bpe.ranks))
        add_special(engine, list(self.special))
        return engine

    def meta_file(self) -> bytes | None:
        """Meta's `tokenizer.model`, where that says the same: Llama 3's way of cutting and all 256 special tokens."""
        fields = json.loads(self.engine().to_str())
        vocabulary = fields["model"]["vocab"]
        inside = {token: i for token, i in vocabulary.items() if token not in self.special}
        size = len(inside)
        special = {name: size + i for i, name in enumerate(special_names(META_SPECIAL))}
        if self.special != special or sorted(inside.values()) != list(range(size)):
            return None
        letters = {letter: byte for byte, letter in byte_letters().items()}
        ranks = {bytes(letters[letter] for letter in token): i for token, i in inside.items()}
        same = new_engine(ranks_model(ranks))
        add_special(same, list(special))
        ours = json.loads(same.to_str())
        if any(ours[part] != fields[part] for part in ("model", "pre_tokenizer", "normalizer", "added_tokens")):
            return None
        lines = (b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in ranks.items())
        return b"".join(lines)

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, tokenizer_config.json, special_tokens_map.json and chat_template.jinja."""
        _write(folder / "tokenizer.json", self.engine().to_str(pretty=True))
        names, template = self.named, CHAT_TEMPLATE if self.chat_template is None else self.chat_template
        if self._stated is None and PAD in self.special:
            names["pad_token"] = PAD
        own = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],
            **names,
        }
        settings = self._stated.settings if self._stated else None
        config = {**(settings or own), "chat_template": template or None}
        config |= {name: token for name, token in names.items() if config.get(name) is None}
        _write(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")
        _write(folder / "special_tokens_map.json", json.dumps(names, indent=2) + "\n")
        if template:
            _write(folder / "chat_template.jinja", template)
        for name, named in self.named_templates.items():
            (folder / NAMED_TEMPLATES).mkdir(exist_ok=True)
            _write(folder / NAMED_TEMPLATES / f"{name}.jinja", named)


def _special_of(engine: Engine) -> dict[str, int]:
    return {t.content: i for i, t in sorted(engine.get_added_tokens_decoder().items()) if t.special}


def _with_more(marks: Marks, stops: Mapping[int, tuple[str, ...]]) -> Marks:
    """`marks` with the stops that files name beside the format's own."""
    origins = {i: (*marks.origins.get(i, ()), *stops.get(i, ())) for i in sorted(marks.origins.keys() | stops.keys())}
    return replace(marks, stops=frozenset(origins), origins=origins)


def _template_of(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The chat template of a folder: a file of its own, or a setting, which may be a list of named ones."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return _read_template(file)
    stated = settings.get("chat_template")
    if isinstance(stated, str):
        return stated
    found = _listed_templates(folder, stated).get("default")
    if found is None and stated is None:
        # What processors of transformers wrote before 4.50 beside a tokenizer that has none.
        alone = read_object(folder / OLDER_TEMPLATE).get("chat_template")
        return alone if isinstance(alone, str) else None
    return found


def _read_template(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text ({error}); write it again as UTF-8") from None


def _listed_templates(folder: Path, stated: Any) -> dict[str, str]:
    """Templates by name, of a list or an object. Raises ValueError for what transformers could not use either."""
    entries = stated if isinstance(stated, list) else []
    if all(isinstance(entry, dict) for entry in entries):
        found = {entry.get("name"): entry.get("template") for entry in entries} | (
            stated if isinstance(stated, dict) else {}
        )
        if isinstance(stated, dict | list | None) and all(isinstance(t, str) for pair in found.items() for t in pair):
            return found
    raise ValueError(f"{folder / 'tokenizer_config.json'} gives a chat_template that is no text and no list of them")


def _named_templates(folder: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """The named templates beside the default one. Raises ValueError for a name that is no name of a file."""
    files = sorted((folder / NAMED_TEMPLATES).glob("*.jinja"))
    if files or (folder / "chat_template.jinja").is_file():
        return {file.stem: _read_template(file) for file in files}
    stated = settings.get("chat_template")
    listed = {} if isinstance(stated, str) else _listed_templates(folder, stated)
    found = {name: template for name, template in listed.items() if name != "default"}
    if strange := next((name for name in found if not re.fullmatch(r"[\w-]{1,64}", name)), None):
        raise ValueError(f"{folder / 'tokenizer_config.json'} names a chat template {strange!r}: no file can have it")
    return found


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
