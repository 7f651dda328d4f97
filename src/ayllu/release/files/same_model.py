"""Whether the GGUF file of a release is the model of its safetensors files: tensors to the bit, tokenizer, shape.

Rows of wq and wk are reordered between the two formats, and Llama 3.1's scaling of rotary positions is a tensor in one
and four numbers in the other (`conversion/llama.py` in llama.cpp).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayllu.lab.visible import visible
from ayllu.model.config import NOT_SUPPORTED, RopeScaling
from ayllu.model.draw_settings import shown
from ayllu.model.files.rope_settings import read_rotation
from ayllu.model.files.vocabulary import read_vocabulary, stop_slots
from ayllu.release.digest import read_header
from ayllu.release.files.gguf_file import GGUFFile, open_gguf
from ayllu.release.files.listing import open_regular
from ayllu.release.reference import json_object

OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
INNER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.down_proj": "ffn_down",
    "mlp.up_proj": "ffn_up",
}
ROPE_FACTORS = "rope_freqs.weight"
SHAPE = {
    "llama.block_count": "num_hidden_layers",
    "llama.embedding_length": "hidden_size",
    "llama.attention.head_count": "num_attention_heads",
    "llama.attention.head_count_kv": "num_key_value_heads",
    "llama.feed_forward_length": "intermediate_size",
    "llama.attention.key_length": "head_dim",
    "llama.context_length": "max_position_embeddings",
    "llama.attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "llama.vocab_size": "vocab_size",
}
KINDS: dict[str, tuple[type[Any], ...]] = {
    "use_cache": (bool, NoneType),
    "attention_dropout": (int, float, NoneType),
    "initializer_range": (int, float, NoneType),
}
"""Of settings that change no answer, what other programs stop at where it is something else."""
ROTATION = frozenset(
    (
        *("rope_type", "type", "rope_theta", "factor"),
        *("low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    )
)
COMPARED = frozenset(
    (
        *("general.architecture", "llama.rope.freq_base", "tokenizer.ggml.tokens", "tokenizer.ggml.merges"),
        *("tokenizer.ggml.bos_token_id", "tokenizer.chat_template"),
        *("general.alignment", "general.type", "general.file_type", "general.quantization_version"),
    )
)
"""Fields that are compared by themselves, and in the last row those that change no answer."""
ALL_STOPS = "tokenizer.ggml.eos_token_ids"
CONTROL = 3
"""`LLAMA_TOKEN_TYPE_CONTROL` of llama.cpp."""
_LAYER = re.compile(r"model\.layers\.(\d+)\.([\w.]+)\.weight")


def gguf_problems(folder: Path) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, for each way in which a GGUF file in `folder` is another model."""
    config, generation = (
        json_object((folder / name).read_text(encoding="utf-8"), name)
        for name in ("config.json", "generation_config.json")
    )
    for reason in _settings(config, generation):
        yield "config.json", reason
    for path in sorted(folder.glob("*.gguf")):
        try:
            with open_gguf(path) as file:
                checks = (_shape(file, config), _tokenizer(file, folder), _tensors(file, folder, config))
                for reason in chain(*checks, _others(file, folder, config)):
                    yield path.name, reason
        except (OSError, ValueError) as error:
            yield path.name, f"cannot be compared with the weights: {error}"


def _settings(config: Mapping[str, Any], generation: Mapping[str, Any]) -> Iterator[str]:
    """What makes the safetensors files another model than their shape says, or two to two programs."""
    for name, only in {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **NOT_SUPPORTED}.items():
        if config.get(name, only) not in (only, None):
            yield f"sets {name} to {config[name]!r}, which is no Llama"
    for name, kinds in KINDS.items():
        if not isinstance(config.get(name), kinds) or (isinstance(config.get(name), bool) and bool not in kinds):
            yield f"sets {name} to {shown(config[name])}, which no program can follow"
    spellings = ("rope_scaling", "rope_parameters")
    strange = sorted({str(key) for name in spellings for key in config.get(name) or {}} - ROTATION)
    if strange:
        yield f"scales rotary positions by {strange[0][:40]!r}, which no Llama does"
    older, newer = ({name: value for name, value in config.items() if name != other} for other in reversed(spellings))
    if newer.get("rope_parameters") and read_rotation(older) != read_rotation(newer):
        yield "scales rotary positions in two ways: rope_parameters are not rope_theta and rope_scaling"
    for name in ("bos_token_id", "eos_token_id"):
        if config.get(name) not in (None, generation.get(name)):
            yield f"gives another {name} than generation_config.json"


def _shape(file: GGUFFile, config: Mapping[str, Any]) -> Iterator[str]:
    base, theta = file.fields.get("llama.rope.freq_base"), read_rotation(config)[0]
    if not isinstance(base, float) or np.float32(base) != np.float32(theta):
        yield f"says llama.rope.freq_base {base}, but config.json {theta}"
    if file.fields.get("general.architecture") != "llama":
        yield "holds a model of another architecture than Llama"
    for theirs, ours in SHAPE.items():
        said, wanted = file.fields.get(theirs), config.get(ours)
        same = np.float32(said) == np.float32(wanted) if isinstance(said, float) and wanted else said == wanted
        if not same:
            yield f"says {theirs} {said}, but config.json {wanted}"
    others = sorted(key for key in file.fields if key.startswith("llama.rope.scal"))
    if others:
        yield f"scales rotary positions by {others[0]}, which config.json does not"


def _tokenizer(file: GGUFFile, folder: Path) -> Iterator[str]:
    read = {
        name: json_object((folder / name).read_text(encoding="utf-8"), name)
        for name in ("tokenizer.json", "generation_config.json")
    }
    fields, stops = read["tokenizer.json"], read["generation_config.json"].get("eos_token_id")
    added = {token["id"]: token for token in fields.get("added_tokens", [])}
    known = {i: token for token, i in fields["model"]["vocab"].items()}
    known |= {i: token["content"] for i, token in added.items()}
    tokens, kinds = file.fields.get("tokenizer.ggml.tokens") or [], file.fields.get("tokenizer.ggml.token_type") or []
    wrong = [i for i, token in known.items() if not i < len(tokens) or tokens[i] != token]
    if wrong:
        yield f"holds another tokenizer than tokenizer.json: id {min(wrong)} is another token"
    if any(token.get("special") and not (i < len(kinds) and kinds[i] == CONTROL) for i, token in added.items()):
        yield "does not treat every special token of tokenizer.json as one"
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in fields["model"]["merges"]]
    if merges != file.fields.get("tokenizer.ggml.merges"):
        yield "merges letters to tokens in another way than tokenizer.json"
    decoder = fields.get("decoder") or {}
    if [step.get("type") for step in decoder.get("decoders", [decoder])] != ["ByteLevel"]:
        yield f"turns ids into letters in another way than tokenizer.json, whose decoder is {shown(decoder)}"
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    if file.fields.get("tokenizer.chat_template") != template:
        yield "holds another chat template than chat_template.jinja"
    if file.fields.get("tokenizer.ggml.eos_token_id") not in (stops if isinstance(stops, list) else [stops]):
        yield "stops at another token than generation_config.json"
    if file.fields.get("tokenizer.ggml.bos_token_id") != read["generation_config.json"].get("bos_token_id"):
        yield "begins texts with another token than generation_config.json"


def _others(file: GGUFFile, folder: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """Where what else the file says, which programs obey too, is not what the release's other files give."""
    try:
        vocabulary = read_vocabulary(folder, config["vocab_size"])
        turn, message = stop_slots(vocabulary)
    except ValueError as error:
        yield f"cannot hold this tokenizer: {str(error).replace(f'{folder}/', '')}"
        return
    records = folder / "records.json"
    said = json_object(records.read_text(encoding="utf-8"), records.name) if records.is_file() else {}
    release = said.get("release") or {}
    wanted = {
        "general.name": release.get("name"),
        "general.license": str(release.get("licence")).lower(),
        "llama.attention.value_length": config["head_dim"],
        "llama.rope.dimension_count": config["head_dim"],
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": vocabulary.pre,
        "tokenizer.ggml.token_type": list(vocabulary.kinds),
        "tokenizer.ggml.eos_token_id": vocabulary.eos,
        "tokenizer.ggml.eot_token_id": turn,
        "tokenizer.ggml.eom_token_id": message,
        ALL_STOPS: list(vocabulary.stops) or None,
        "tokenizer.ggml.padding_token_id": vocabulary.pad,
        "tokenizer.ggml.add_bos_token": vocabulary.adds_bos,
        "tokenizer.ggml.add_eos_token": vocabulary.adds_eos or None,
    }
    for name, value in wanted.items():
        if file.fields.get(name) != value:
            yield f"says {name} {shown(file.fields.get(name))}, but the release's other files give {shown(value)}"
    for name in sorted(file.fields.keys() - wanted.keys() - SHAPE.keys() - COMPARED):
        yield f"says {visible(name, longest=100)}, which nothing else in the release says"


def _tensors(file: GGUFFile, folder: Path, config: Mapping[str, Any]) -> Iterator[str]:
    left = set(file.tensors)
    for path in sorted(folder.glob("*.safetensors")):
        with open_regular(path) as weights:
            start, header = read_header(weights)
            for name, tensor in header.items():
                theirs = _renamed(name)
                if theirs not in file.tensors:
                    yield f"lacks {theirs}"
                    continue
                left.discard(theirs)
                weights.seek(start + tensor["data_offsets"][0])
                content = weights.read(tensor["data_offsets"][1] - tensor["data_offsets"][0])
                values = _float32(content, tensor["dtype"]).reshape(tensor["shape"])
                if not _equal(_reordered(values, name, config), file.values(theirs)):
                    yield f"holds another {theirs} than the weights"
                    return
    theta, scaling = read_rotation(config)
    if ROPE_FACTORS in left:
        left.discard(ROPE_FACTORS)
        factors = _rope_factors(config["head_dim"], theta, scaling)
        if not np.allclose(file.values(ROPE_FACTORS), factors, rtol=1e-5):
            yield f"scales rotary positions in another way than config.json ({ROPE_FACTORS})"
    elif scaling:
        yield f"does not scale rotary positions, as config.json does ({ROPE_FACTORS})"
    if left:
        yield f"holds {min(left)}, which the weights do not"


def _renamed(name: str) -> str:
    layer = _LAYER.fullmatch(name)
    if layer and layer[2] in INNER:
        return f"blk.{layer[1]}.{INNER[layer[2]]}.weight"
    return OUTER.get(name, name)


def _float32(content: bytes, dtype: str) -> NDArray[np.float32]:
    if dtype == "BF16":
        return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    if dtype not in ("F32", "F16"):
        raise ValueError(f"weights of the type {dtype} are not known")
    return np.frombuffer(content, {"F32": "<f4", "F16": "<f2"}[dtype]).astype(np.float32)


def _reordered(values: NDArray[np.float32], name: str, config: Mapping[str, Any]) -> NDArray[np.float32]:
    """Rows of wq and wk as llama.cpp has them: neighbours are rotated there, halves here."""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(name.split(".")[-2])
    if not heads:
        return values
    rows = values.shape[0]
    return values.reshape(config[heads], 2, rows // config[heads] // 2, -1).swapaxes(1, 2).reshape(values.shape)


def _equal(ours: NDArray[np.float32], stored: NDArray[Any]) -> bool:
    """Whether `stored` is `ours`, rounded once to its own type; BF16 is cut to it, and must lose nothing."""
    if ours.shape != stored.shape:
        return False
    if stored.dtype == np.uint16:
        return np.array_equal(ours.view(np.uint32), stored.astype(np.uint32) << 16)
    with np.errstate(over="ignore"):
        return np.array_equal(ours.astype(stored.dtype), stored)


def _rope_factors(width: int, theta: float, scaling: RopeScaling | None) -> NDArray[np.float64]:
    """What each rotary frequency is divided by, (h/2,) (`apply_scaling` in meta-llama/llama-models)."""
    if scaling is None:
        return np.ones(width // 2)
    powers = np.arange(width // 2) * 2 / width
    turns = scaling.original_context * theta**-powers / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    blend = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return np.asarray(1 / ((1 - blend) / scaling.factor + blend), np.float64)
