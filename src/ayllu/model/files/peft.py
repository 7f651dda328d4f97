"""LoRA adapters as the library peft writes them, read for serving: y = x W' + scale x A' B'.

Shapes: r rank, in and out features of a matrix. Source of the fields: `LoraConfig` and `LoraLayer` in peft 0.21.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ayllu.model.config import ModelConfig
from ayllu.model.files import hf
from ayllu.model.files.gguf import INNER, OUTER
from ayllu.model.files.weights import renamed, replacing, rotary_heads, to_neighbours

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."
NAME = re.compile(r"[A-Za-z0-9_.]+")
LARGEST_CONFIG = 1 << 20
"""Bytes of a configuration; peft's own have some thousand."""
CHANGED_BASE = ("pissa", "olora", "corda", "loftq", "eva")
"""Beginnings of `init_lora_weights` that may have changed the base too, which the adapter's file does not hold."""
PLAIN: dict[str, tuple[Any, ...]] = {
    "bias": ("none", None),
    "fan_in_fan_out": (False, None),
    "layer_replication": (None, []),
    "lora_bias": (False, None),
    "modules_to_save": (None, []),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, [], {}),
    "use_dora": (False, None),
    "use_qalora": (False, None),
    "alora_invocation_tokens": (None, []),
    "arrow_config": (None,),
}
"""Fields that change what an adapter computes, and the values with which it is a plain one."""


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """What is added to one matrix."""

    a: Tensor
    """(r, in), float32."""
    b: Tensor
    """(out, r), float32."""
    scale: float


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A read adapter."""

    matrices: Mapping[str, LowRank]
    """By our name of the matrix's weight."""


def read_adapter(folder: Path, config: ModelConfig) -> Adapter:
    """The adapter in `folder` for a model of the shape `config`.

    Raises ValueError, in one sentence, where it is none, does not fit the model, or computes what is not supported.
    """
    fields = _read_fields(folder)
    theirs = {f"{PREFIX}{name.removesuffix('.weight')}": ours for ours, name in hf.names(config).items()}
    shapes = _shapes(config)
    parts: dict[str, dict[str, Tensor]] = {}
    for name, values in _read_tensors(folder / WEIGHTS).items():
        place, _, part = name.removesuffix(".weight").rpartition(".lora_")
        ours = theirs.get(place, "")
        if part not in ("A", "B") or ours not in shapes:
            raise ValueError(f"{folder / WEIGHTS} holds {name!r}, which this model has no place for")
        parts.setdefault(ours, {})[part] = values
    if not parts:
        raise ValueError(f"{folder / WEIGHTS} holds no adapter")
    names = {ours: place.removeprefix(PREFIX) for place, ours in theirs.items()}
    return Adapter(matrices={n: _matrix(folder, names[n], part, shapes[n], fields) for n, part in parts.items()})


def write_gguf(path: Path, adapter: Adapter, config: ModelConfig) -> None:
    """Write `adapter` for llama.cpp, float32; the file appears whole or not at all.

    Each B is scaled before it is written and alpha is the rank, since the file has one alpha for all matrices and
    llama.cpp multiplies by alpha / rank. Rows of B of wq and wk are reordered as those of the matrices are. Source:
    `convert_lora_to_gguf.py` in llama.cpp.
    """
    from gguf import GGUFWriter

    ours_to_theirs = renamed(config, OUTER, INNER, "blk.{}")
    ranks = {matrix.a.shape[0] for matrix in adapter.matrices.values()}
    alpha = max(ranks)
    with replacing(path) as temporary:
        writer = GGUFWriter(temporary, "llama")
        try:
            writer.add_string("general.type", "adapter")
            writer.add_string("adapter.type", "lora")
            writer.add_float32("adapter.lora.alpha", float(alpha))
            for ours, matrix in adapter.matrices.items():
                heads = rotary_heads(config, ours)
                b = matrix.b * (matrix.scale * matrix.a.shape[0] / alpha)
                b = to_neighbours(b, heads) if heads else b
                writer.add_tensor(f"{ours_to_theirs[ours]}.lora_a", matrix.a.contiguous().numpy())
                writer.add_tensor(f"{ours_to_theirs[ours]}.lora_b", b.contiguous().numpy())
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()


def _read_fields(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError(f"{path} has more than {LARGEST_CONFIG:,} bytes")
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder} has no {CONFIG}; give the folder of an adapter that peft wrote") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error})") from None
    if not isinstance(fields, dict) or fields.get("peft_type") != "LORA":
        raise ValueError(f"{path} is of no LoRA adapter (peft_type LORA)")
    for name, plain in PLAIN.items():
        if fields.get(name) not in plain:
            raise ValueError(f"{path} has {name}, which is not supported here; merge the adapter into its base")
    start = str(fields.get("init_lora_weights", True)).lower()
    if start.startswith(CHANGED_BASE):
        raise ValueError(f"{path} has init_lora_weights {start[:20]!r}, which changes the base too; merge the adapter")
    return fields


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).to(torch.float32) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ValueError(f"{path} is not there; only safetensors are read") from None
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read as safetensors ({error})") from None


def _matrix(
    folder: Path, name: str, parts: Mapping[str, Tensor], shape: tuple[int, int], fields: Mapping[str, Any]
) -> LowRank:
    a, b = parts.get("A"), parts.get("B")
    if a is None or b is None:
        raise ValueError(f"{folder / WEIGHTS} has one half only of the adapter of {name}")
    rank = _pattern(fields, "rank_pattern", name, fields.get("r"))
    if a.ndim != 2 or b.ndim != 2 or (b.shape[0], a.shape[1]) != shape or not a.shape[0] == b.shape[1] == rank:
        raise ValueError(
            f"{folder} does not fit the model: A and B of {name} are {list(a.shape)} and {list(b.shape)} at rank "
            f"{rank}, its matrix {list(shape)}"
        )
    alpha = _pattern(fields, "alpha_pattern", name, fields.get("lora_alpha"))
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not math.isfinite(alpha):
        raise ValueError(f"{folder / CONFIG} says no lora_alpha for {name}")
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise ValueError(f"{folder / WEIGHTS} has values of {name} that are no numbers")
    scale = alpha / (math.sqrt(rank) if fields.get("use_rslora") else rank)
    return LowRank(a=a, b=b, scale=scale)


def _pattern(fields: Mapping[str, Any], key: str, name: str, otherwise: Any) -> Any:
    """The value of the first pattern that is the end of `name`, or all of it behind ^ (`get_pattern_key` in peft).

    Names alone are taken: a regular expression of a file may take for ever.
    """
    patterns = fields.get(key) or {}
    if not isinstance(patterns, dict):
        raise ValueError(f"{CONFIG} has a {key} that is no object")
    for pattern, value in patterns.items():
        wanted = pattern.replace("\\.", ".").removeprefix("^")
        if not NAME.fullmatch(wanted):
            raise ValueError(f"{CONFIG} has a pattern in {key} that is no name of a module; merge the adapter")
        if name == wanted or (not pattern.startswith("^") and name.endswith(f".{wanted}")):
            return value
    return otherwise


def _shapes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Our name of every matrix inside the blocks, and its (out, in)."""
    heads, kv_heads = config.heads * config.head_width, config.kv_heads * config.head_width
    inner = {
        "attention.wq": (heads, config.width),
        "attention.wk": (kv_heads, config.width),
        "attention.wv": (kv_heads, config.width),
        "attention.wo": (config.width, heads),
        "feed_forward.w1": (config.feed_forward, config.width),
        "feed_forward.w2": (config.width, config.feed_forward),
        "feed_forward.w3": (config.feed_forward, config.width),
    }
    return {f"blocks.{layer}.{name}.weight": shape for layer in range(config.layers) for name, shape in inner.items()}
