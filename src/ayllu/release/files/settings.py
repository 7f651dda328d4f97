"""Whether the small settings of a release mean something: how tokens are drawn, and which tokens have a name.

Other programs read them before the weights, so that nonsense in them breaks a model whose weights are sound.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ayllu.model.draw_settings import shown, unfit
from ayllu.release.reference import json_object
from ayllu.text.special_tokens import GENERATION, NAMES, SETTINGS, SPECIAL_MAP, read_object, token_text

MORE = ("additional_special_tokens", "extra_special_tokens")
"""Lists of special tokens beside those that have a name."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What tokenizers of Llama models give; the last is passed over by some programs."""
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
_SWITCHES = ("do_sample", "use_cache", "output_scores", "output_logits", "return_dict_in_generate")
_LENGTHS = ("max_length", "max_new_tokens")


def setting_problems(folder: Path) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, for each setting in `folder` that nothing can be done with."""
    generation, settings, tokenizer = (
        json_object((folder / name).read_text(encoding="utf-8"), name)
        for name in (GENERATION, SETTINGS, "tokenizer.json")
    )
    special_map = read_object(folder / SPECIAL_MAP)
    added = {token["content"]: token for token in tokenizer.get("added_tokens", [])}
    ids = tokenizer["model"]["vocab"] | {content: token["id"] for content, token in added.items()}
    yield from ((GENERATION, reason) for reason in _drawing(generation, set(ids.values())))
    for file, fields in ((SETTINGS, settings), (SPECIAL_MAP, special_map)):
        yield from ((file, reason) for reason in (*_names(fields, added), *_ends(fields, generation, ids)))
    yield from ((SPECIAL_MAP, reason) for reason in _disagreements(settings, special_map))
    yield from ((SETTINGS, reason) for reason in _others(settings, added, tokenizer))


def _drawing(fields: Mapping[str, Any], ids: set[int]) -> Iterator[str]:
    """What is wrong with how tokens are drawn."""
    yield from (f"cannot be followed: {clause}" for clause in unfit(fields).values())
    for name in _SWITCHES:
        if not isinstance(fields.get(name), bool | None):
            yield f"gives {name} {shown(fields[name])}, which is neither true nor false"
    for name in _LENGTHS:
        if fields.get(name) is not None and not (_is_number(fields[name]) and fields[name] > 0):
            yield f"gives {name} {shown(fields[name])}, which is no number of tokens"
    pad = fields.get("pad_token_id")
    if pad is not None and not (_is_number(pad) and pad in ids):
        yield f"gives pad_token_id {shown(pad)}, which is no token"
    strange = sorted(name for name, value in fields.items() if isinstance(value, dict) and value)
    yield from (f"gives {name} {shown(fields[name])}, which no program is known to read" for name in strange)


def _names(fields: Mapping[str, Any], added: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the names of special tokens; a pad may lack its row, for texts are never filled up here."""
    for name in NAMES:
        value, text = fields.get(name), token_text(fields.get(name))
        if value is not None and text is None:
            yield f"gives {name} {shown(value)}, which is no token"
        elif text is not None and name != "pad_token" and text not in added:
            yield f"calls {shown(text)} its {name}, which is no special token of tokenizer.json"
    for name in MORE:
        more = fields.get(name) or []
        entries = list(more.values()) if isinstance(more, dict) else more if isinstance(more, list) else [more]
        for entry in entries:
            if token_text(entry) not in added:
                yield f"lists {shown(entry)} in {name}, which is no special token of tokenizer.json"


def _disagreements(settings: Mapping[str, Any], special_map: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(special_map.keys() - {*NAMES, *MORE}):
        yield f"names {shown(name)}, which is no name of a special token"
    for name in NAMES:
        here, there = token_text(special_map.get(name)), token_text(settings.get(name))
        if here is not None and here != there:
            yield f"calls {shown(here)} its {name}, but {SETTINGS} {shown(there)}"


def _others(settings: Mapping[str, Any], added: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the rest of `tokenizer_config.json`, as far as it changes how texts become ids."""
    longest = settings.get("model_max_length")
    if longest is not None and not (isinstance(longest, int | float) and longest >= 1):
        yield f"gives model_max_length {shown(longest)}, which is no number of tokens"
    inputs = settings.get("model_input_names")
    if inputs is not None and (not isinstance(inputs, list) or set(map(str, inputs)) - set(INPUTS)):
        yield f"gives model_input_names {shown(inputs)}, which are no inputs of a Llama: {', '.join(INPUTS)}"
    listed = settings.get("added_tokens_decoder")
    for number, fields in (listed if isinstance(listed, dict) else {}).items():
        token = added.get(str(fields.get("content"))) if isinstance(fields, dict) else None
        same = token and str(token["id"]) == number and all(fields.get(f, token[f]) == token[f] for f in _FLAGS)
        if not same:
            yield f"describes the token {shown(number)} in another way than tokenizer.json"
    before = json.dumps(tokenizer.get("pre_tokenizer"))
    if settings.get("add_prefix_space") is True and '"add_prefix_space": true' not in before:
        yield "puts a space before texts (add_prefix_space), which tokenizer.json does not"
    for name in ("add_prefix_space", "add_bos_token", "add_eos_token", "clean_up_tokenization_spaces"):
        if not isinstance(settings.get(name), bool | None):
            yield f"gives {name} {shown(settings[name])}, which is neither true nor false"


def _ends(fields: Mapping[str, Any], generation: Mapping[str, Any], ids: Mapping[str, int]) -> Iterator[str]:
    """Where a name is given to another token than the one that begins or ends texts."""
    stops = generation.get("eos_token_id")
    for name, known in (
        ("bos_token", [generation.get("bos_token_id")]),
        ("eos_token", stops if isinstance(stops, list) else [stops]),
    ):
        text = token_text(fields.get(name))
        if text is not None and text in ids and ids[text] not in known:
            yield f"calls {shown(text)} its {name}, but {GENERATION} gives that of others: {shown(known)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
