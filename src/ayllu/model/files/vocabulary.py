"""The tokenizer as GGUF files hold it: lists of tokens, kinds and merges, from the Hugging Face files and back.

llama.cpp reads no regular expression from the file, only the name of one that it knows (`tokenizer.ggml.pre`), so a
tokenizer that cuts text in another way cannot be written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

LLAMA_3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where Llama 3 cuts text before merging (`pat_str` in meta-llama/llama-models, llama3/tokenizer.py)."""
END_OF_TURN = "<|eot_id|>"
END_OF_MESSAGE = "<|eom_id|>"
NAMED_TEMPLATES = "additional_chat_templates"
"""Folder of the chat templates beside `chat_template.jinja`, as transformers writes it."""
KNOWN_ENDS = frozenset(
    {
        "<|eot_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<|flush|>",
        "<|calls|>",
        "<end_of_turn>",
        "<|endoftext|>",
        "</s>",
        "<|eom_id|>",
        "<EOT>",
        "_<EOT>",
        "[EOT]",
        "[EOS]",
        "<|end_of_text|>",
        "<end_of_utterance>",
        "<eos>",
        "<turn|>",
        "<|tool_response>",
    }
)
"""Tokens that end a reply in llama.cpp by their names alone (`special_eog_ids` in llama-vocab.cpp)."""


class Kind(IntEnum):
    """What a token is (`llama_token_type` in llama.cpp)."""

    NORMAL = 1
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A byte-level BPE tokenizer."""

    tokens: Sequence[str]
    """By id, in GPT-2's printable notation of bytes."""
    kinds: Sequence[int]
    """One of `Kind` for each token."""
    merges: Sequence[tuple[str, str]]
    """Best first."""
    pre: str
    """llama.cpp's name of the way in which text is cut."""
    bos: int | None
    eos: int
    """What ends a reply: <|eot_id|> in a chat model. Engines that know only one stop use this one."""
    adds_bos: bool
    """Whether BOS comes before a text that is encoded."""
    adds_eos: bool = False
    """Whether `eos` comes behind it."""
    stops: tuple[int, ...] = ()
    """Every id that ends a reply, in order, `eos` among them."""
    pad: int | None = None
    chat_template: str | None = None
    named_templates: Mapping[str, str] = field(default_factory=dict)
    """Further chat templates by name, such as `tool_use`."""
    stop_origins: Mapping[int, tuple[str, ...]] = field(default_factory=dict, compare=False)
    """Which fields of the file name each stop."""

    def find(self, token: str) -> int | None:
        """The id of `token`, or None."""
        return self.tokens.index(token) if token in self.tokens else None


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """The tokenizer in a Hugging Face folder, filled up with unused tokens to the `size` of the embedding.

    Raises ValueError when a file is missing or damaged, when llama.cpp could not encode in the same way, and when the
    tokenizer has more tokens than the model.
    """
    path = folder / "tokenizer.json"
    settings = _object(folder / "tokenizer_config.json")
    fields, before, behind = _loaded(path)
    model = fields.get("model") or {}
    if model.get("type", "BPE") != "BPE" or "vocab" not in model or model.get("byte_fallback"):
        raise ValueError(f"{path} is not a byte-level BPE tokenizer; only those can be written as GGUF")
    pre = pre_tokenizer_name(fields.get("pre_tokenizer") or {}, bool(model.get("ignore_merges")), str(path))
    _check_expressible(fields, path)
    known = {**model["vocab"], **{token["content"]: token["id"] for token in fields.get("added_tokens", [])}}
    if max(known.values()) >= size:
        raise ValueError(f"{path} has the id {max(known.values())}, but the model's vocabulary ends at {size - 1}")
    tokens, kinds = _table(fields, size)
    bos = known.get(_name(settings.get("bos_token")))
    named: int | None = known.get(_name(settings.get("eos_token")))
    stops = _stated_stops(folder, size) | (set() if named is None else {named})
    if not stops:
        raise ValueError(f"{folder / 'tokenizer_config.json'} names no eos_token of the vocabulary; add one")
    eos = min(stops) if named is None else named
    if bos is None and len(before) == 1:
        bos = before[0]
    if before not in ([], [bos]) or behind not in ([], [eos]):
        raise ValueError(f"{path} puts more around a text than BOS and EOS, for which a GGUF file has no place")
    return Vocabulary(
        tokens=tokens,
        kinds=kinds,
        merges=[_pair(merge) for merge in model["merges"]],
        pre=pre,
        bos=bos,
        eos=eos,
        adds_bos=bool(before),
        adds_eos=bool(behind),
        stops=tuple(sorted(stops)),
        pad=known.get(_name(settings.get("pad_token")), _stated_pad(folder, size)),
        chat_template=_chat_template(folder, settings),
        named_templates=_named_templates(folder),
    )


def _loaded(path: Path) -> tuple[dict[str, Any], list[int], list[int]]:
    """What the tokenizers library makes of the file, ids of added tokens above all, and what it puts before a text and
    behind it."""
    from tokenizers import Tokenizer as Engine

    _object(path)
    try:
        engine = Engine.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for whatever it cannot parse
        raise ValueError(f"{path} is not a tokenizer file: {error}") from None
    engine.no_truncation()
    engine.no_padding()
    fields: dict[str, Any] = json.loads(engine.to_str())
    plain, whole = engine.encode("a", add_special_tokens=False).ids, engine.encode("a").ids
    at = next((at for at in range(len(whole)) if plain and whole[at : at + len(plain)] == plain), 0)
    return fields, whole[:at], whole[at + len(plain) :]


def _check_expressible(fields: Mapping[str, Any], path: Path) -> None:
    """Raises ValueError for what changes ids and has no place in a GGUF file: llama.cpp would read a text otherwise."""
    normalizer = fields.get("normalizer")
    if normalizer and normalizer.get("normalizers") != []:
        kinds = [step.get("type") for step in normalizer.get("normalizers", [normalizer])]
        raise ValueError(f"{path} normalizes text ({', '.join(kinds)}), which llama.cpp does not do for BPE")
    for token in fields.get("added_tokens", []):
        flag = next((name for name in ("lstrip", "rstrip", "single_word") if token.get(name)), None)
        if flag:
            raise ValueError(f"{path} gives {token['content']!r} the flag {flag}, for which a GGUF file has no place")
    model = fields["model"]
    odd = next(
        (name for name in ("continuing_subword_prefix", "end_of_word_suffix", "dropout") if model.get(name)), None
    )
    if odd:
        raise ValueError(f"{path} sets {odd}, which llama.cpp does not have for BPE")


def _stated_stops(folder: Path, size: int) -> set[int]:
    """The ids that the configuration files of `folder` name as the ends of a text."""
    found: set[int] = set()
    for name in ("config.json", "generation_config.json"):
        value = _object(folder / name).get("eos_token_id") if (folder / name).is_file() else None
        entries = value if isinstance(value, list) else [value]
        found |= {i for i in entries if isinstance(i, int) and not isinstance(i, bool) and 0 <= i < size}
    return found


def _stated_pad(folder: Path, size: int) -> int | None:
    """The pad that a configuration file names where the tokenizer's files name none (`SpecialVocab` in gguf)."""
    for name in ("config.json", "generation_config.json"):
        value = _object(folder / name).get("pad_token_id") if (folder / name).is_file() else None
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < size:
            return value
    return None


def stop_slots(vocabulary: Vocabulary) -> tuple[int | None, int | None]:
    """What stands as `eot_token_id` and `eom_token_id`, so that llama.cpp ends a reply at every stop.

    Raises ValueError where there are more stops than it has places for, beside those that it knows by name.
    """
    by_name = {vocabulary.tokens[i]: i for i in vocabulary.stops}
    turn, message = by_name.get(END_OF_TURN), by_name.get(END_OF_MESSAGE)
    unknown = [i for i in vocabulary.stops if i != vocabulary.eos and vocabulary.tokens[i] not in KNOWN_ENDS]
    places = [turn, message]
    # First where nothing is lost, then where a token stands that has a name.
    for place in sorted((0, 1), key=lambda place: places[place] not in (None, vocabulary.eos)):
        if unknown:
            places[place] = unknown.pop(0)
    if unknown:
        names = ", ".join(repr(vocabulary.tokens[i]) for i in unknown)
        raise ValueError(f"a reply ends at {names} too, and a GGUF file has no more places for stops")
    return places[0], places[1]


def _table(fields: dict[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Token and `Kind` by id, as `tokenizer.json` has them."""
    tokens = [f"[unused{i}]" for i in range(size)]
    kinds = [int(Kind.UNUSED)] * size
    for token, i in fields["model"]["vocab"].items():
        tokens[i], kinds[i] = token, int(Kind.NORMAL)
    for added in fields.get("added_tokens", []):
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = int(Kind.CONTROL if added.get("special") else Kind.USER_DEFINED)
    return tokens, kinds


def pre_tokenizer_name(fields: dict[str, Any], ignore_merges: bool, where: str) -> str:
    """llama.cpp's name for a `pre_tokenizer` of `tokenizer.json` (`llm_load_vocab` in llama-vocab.cpp).

    Raises ValueError for one that llama.cpp does not have, since the text would be cut elsewhere than in training.
    """
    steps = fields.get("pretokenizers", [fields])
    kinds = [step.get("type") for step in steps]
    patterns = [(step.get("pattern") or {}).get("Regex") for step in steps]
    if any(step.get("add_prefix_space") for step in steps):
        raise ValueError(f"{where} puts a space before every text, which llama.cpp does not do for BPE")
    if kinds == ["Split", "ByteLevel"] and patterns[0] == LLAMA_3_PATTERN and ignore_merges:
        return "llama-bpe"
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and not ignore_merges:
        return "smollm"
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True) and not ignore_merges:
        return "gpt-2"
    raise ValueError(f"{where} cuts text in a way that llama.cpp has no name for; no GGUF file can be written")


def write_vocabulary(folder: Path, vocabulary: Vocabulary) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` from what a GGUF file held, and its
    stops as `generation_config.json`.

    Raises ValueError for a way of cutting text whose Hugging Face form is not known here.
    """
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None if vocabulary.bos is None else vocabulary.tokens[vocabulary.bos],
        "eos_token": vocabulary.tokens[vocabulary.eos],
        **({} if vocabulary.pad is None else {"pad_token": vocabulary.tokens[vocabulary.pad]}),
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "chat_template": vocabulary.chat_template,
    }
    fields = json.dumps(_tokenizer_fields(vocabulary), ensure_ascii=False)
    (folder / "tokenizer.json").write_text(fields, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    ids = {"bos_token_id": vocabulary.bos, "eos_token_id": list(vocabulary.stops) or vocabulary.eos}
    (folder / "generation_config.json").write_text(json.dumps(ids, indent=2) + "\n", encoding="utf-8")
    if vocabulary.chat_template:
        (folder / "chat_template.jinja").write_text(vocabulary.chat_template, encoding="utf-8")
    for name, template in vocabulary.named_templates.items():
        (folder / NAMED_TEMPLATES).mkdir(exist_ok=True)
        (folder / NAMED_TEMPLATES / f"{name}.jinja").write_text(template, encoding="utf-8")


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
PRE_TOKENIZERS: dict[str, list[dict[str, Any]]] = {
    "llama-bpe": [
        {"type": "Split", "pattern": {"Regex": LLAMA_3_PATTERN}, "behavior": "Isolated", "invert": False},
        BYTE_LEVEL | {"use_regex": False},
    ],
    "smollm": [{"type": "Digits", "individual_digits": True}, BYTE_LEVEL],
    "gpt-2": [BYTE_LEVEL],
}
"""What `tokenizer.json` says for llama.cpp's names: the inverse of `pre_tokenizer_name`."""


def _tokenizer_fields(vocabulary: Vocabulary) -> dict[str, Any]:
    """What `tokenizer.json` holds."""
    steps = PRE_TOKENIZERS.get(vocabulary.pre)
    if steps is None:
        raise ValueError(f"the GGUF file's tokenizer cuts text by {vocabulary.pre!r}, which has no known counterpart")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": token, "special": kind == Kind.CONTROL}
            | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            for i, (token, kind) in enumerate(zip(vocabulary.tokens, vocabulary.kinds, strict=True))
            if kind in (Kind.CONTROL, Kind.USER_DEFINED)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": _around(vocabulary),
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(vocabulary.tokens[: _inside(vocabulary.kinds)])},
            "merges": [list(merge) for merge in vocabulary.merges],
            "ignore_merges": vocabulary.pre == "llama-bpe",
            **dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"), None),
            **dict.fromkeys(("fuse_unk", "byte_fallback"), False),
        },
    }


def _inside(kinds: Sequence[int]) -> int:
    """How many of the first tokens the BPE model itself must hold.

    The tokenizers library numbers added tokens on from the vocabulary, whatever `id` says, unless they are in it.
    """
    last_added = max((i for i, kind in enumerate(kinds) if kind in (Kind.CONTROL, Kind.USER_DEFINED)), default=-1)
    return 1 + max(i for i, kind in enumerate(kinds) if kind == Kind.NORMAL or (kind == Kind.UNUSED and i < last_added))


def _around(vocabulary: Vocabulary) -> dict[str, Any] | None:
    """What comes before every text and behind it."""
    first = [vocabulary.bos] if vocabulary.adds_bos and vocabulary.bos is not None else []
    last = [vocabulary.eos] if vocabulary.adds_eos else []
    if not first and not last:
        return None

    def part(letter: str, kind: int) -> list[dict[str, Any]]:
        begin, end = (
            [{"SpecialToken": {"id": vocabulary.tokens[i], "type_id": kind}} for i in ids] for ids in (first, last)
        )
        return [*begin, {"Sequence": {"id": letter, "type_id": kind}}, *end]

    named = {vocabulary.tokens[i]: i for i in (*first, *last)}
    return {
        "type": "TemplateProcessing",
        "single": part("A", 0),
        "pair": [*part("A", 0), *part("B", 1)],
        "special_tokens": {token: {"id": token, "ids": [i], "tokens": [token]} for token, i in named.items()},
    }


def _chat_template(folder: Path, settings: dict[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = settings.get("chat_template")
    return template if isinstance(template, str) else None


def _named_templates(folder: Path) -> dict[str, str]:
    files = sorted((folder / NAMED_TEMPLATES).glob("*.jinja"))
    return {file.stem: file.read_text(encoding="utf-8") for file in files}


def _pair(merge: str | list[str]) -> tuple[str, str]:
    """A merge of tokenizer.json, which older versions of `tokenizers` wrote as one string."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _name(token: Any) -> str:
    """A token of tokenizer_config.json, which is a string or an object with `content`; "" where there is none."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _object(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; a GGUF file needs the tokenizer's Hugging Face files") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error})") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{path} holds no JSON object")
    return fields
