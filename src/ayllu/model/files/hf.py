"""Hugging Face folders: `config.json`, `generation_config.json` and `model.safetensors`, in the layout of Llama models.

Both spellings of the rotary settings are written: `rope_parameters`, which transformers 5 reads, and `rope_theta` with
`rope_scaling`, without which readers of the older layout fall back to a base of 10,000 in silence.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ayllu.model.config import ModelConfig, RopeScaling
from ayllu.model.files.weights import assemble, renamed, replacing, stored
from ayllu.model.transformer import Transformer

SHARD_BYTES = 5_000_000_000
"""Weights larger than this are written in several files with an index, as the Hub recommends."""
INDEX = "model.safetensors.index.json"
OUTER = {
    "embedding.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
INNER = {
    "attention_norm": "input_layernorm",
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward_norm": "post_attention_layernorm",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
}
NOT_SUPPORTED = {
    "attention_bias": False,
    "mlp_bias": False,
    "rope_interleaved": False,
    "quantization_config": None,
    "sliding_window": None,
    "hidden_act": "silu",
}
"""Settings that would change the architecture, each with the only value that ours has."""


def names(config: ModelConfig) -> dict[str, str]:
    """Our name of every stored tensor to its Hugging Face name."""
    return renamed(config, OUTER, INNER, "model.layers.{}")


def save(
    folder: Path,
    model: Transformer,
    *,
    dtype: torch.dtype = torch.float32,
    bos: int | None = None,
    stops: Sequence[int] = (),
    read: Callable[[str], Tensor] | None = None,
) -> None:
    """Write `model` into `folder` (made when missing), its weights in `dtype`; each file appears whole or not at all.

    `read` gives the value of a weight by its name where the model itself is on the meta device: one file's worth of
    them is held at a time. `bos` and `stops` are the ids that begin a text and end a reply; see `save_config`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    translate, shards = names(model.config), _shards(model, torch.empty((), dtype=dtype).element_size())
    files = ["model.safetensors"]
    if len(shards) > 1:
        files = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    if read is None:
        read = dict(stored(model)).__getitem__
    for file, shard in zip(files, shards, strict=True):
        values = {translate[n]: read(n).detach().to(device="cpu", dtype=dtype).contiguous() for n in shard}
        with replacing(folder / file) as temporary:
            save_file(values, temporary, metadata={"format": "pt"})
    if len(shards) > 1:
        weight_map = {translate[name]: file for file, shard in zip(files, shards, strict=True) for name in shard}
        total = sum(tensor.numel() for _, tensor in stored(model)) * torch.empty((), dtype=dtype).element_size()
        _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})
    save_config(folder, model.config, dtype=dtype, bos=bos, stops=stops)


def _shards(model: Transformer, size: int) -> list[list[str]]:
    """Names of the weights file by file: up to SHARD_BYTES at `size` bytes an entry, or one weight that is more."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, tensor in stored(model):
        if filled and filled + size * tensor.numel() > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size * tensor.numel()
    return shards


def save_config(
    folder: Path, config: ModelConfig, *, dtype: torch.dtype, bos: int | None = None, stops: Sequence[int] = ()
) -> None:
    """Write `config.json` and `generation_config.json`.

    A Llama 3 chat model has two stops, the end of the text and the end of the turn; engines read them from the list
    `eos_token_id`. Without them a reply never ends.
    """
    ids = {"bos_token_id": bos, "eos_token_id": list(stops) if stops else None}
    _write_json(folder / "config.json", to_json(config, dtype) | ids)
    sampling = {"do_sample": True, "temperature": 0.6, "top_p": 0.9}
    _write_json(folder / "generation_config.json", ids | sampling)


def to_json(config: ModelConfig, dtype: torch.dtype) -> dict[str, Any]:
    """The fields of `config.json` for `config`; the inverse of `from_json`."""
    scaling: dict[str, Any] | None = None
    if config.rope_scaling:
        scaling = {
            "rope_type": "llama3",
            "factor": config.rope_scaling.factor,
            "low_freq_factor": config.rope_scaling.low_frequency_factor,
            "high_freq_factor": config.rope_scaling.high_frequency_factor,
            "original_max_position_embeddings": config.rope_scaling.original_context,
        }
    kind = str(dtype).removeprefix("torch.")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "intermediate_size": config.feed_forward,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_epsilon,
        "rope_parameters": (scaling or {"rope_type": "default"}) | {"rope_theta": config.rope_theta},
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "use_cache": True,
        "dtype": kind,
        "torch_dtype": kind,
    }


def from_json(fields: dict[str, Any], where: str = "config.json") -> ModelConfig:
    """The shape that a `config.json` describes; fields that it leaves out have the values that transformers gives them.

    Raises ValueError naming the first setting that is missing or that this architecture does not have.
    """
    if fields.get("model_type") != "llama":
        raise ValueError(f"{where} describes a {fields.get('model_type')!r} model; only model_type 'llama' can be read")
    for setting, only in NOT_SUPPORTED.items():
        if fields.get(setting, only) not in (only, None):
            raise ValueError(f"{where} sets {setting} to {fields[setting]!r}, which this architecture does not have")
    try:
        return _shape(fields)
    except KeyError as missing:
        raise ValueError(f"{where} lacks {missing.args[0]!r}; it does not describe a Llama model") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where} cannot be used: {error}") from None


def _shape(fields: dict[str, Any]) -> ModelConfig:
    rope = fields.get("rope_parameters") or {}
    width, heads = int(fields["hidden_size"]), int(fields["num_attention_heads"])
    return ModelConfig(
        vocabulary=int(fields["vocab_size"]),
        layers=int(fields["num_hidden_layers"]),
        width=width,
        heads=heads,
        kv_heads=int(fields.get("num_key_value_heads") or heads),
        feed_forward=int(fields["intermediate_size"]),
        head_width=int(fields.get("head_dim") or width // heads),
        context=int(fields.get("max_position_embeddings", 2048)),
        rope_theta=float(rope.get("rope_theta", fields.get("rope_theta", 10_000.0))),
        rope_scaling=_scaling(rope or fields.get("rope_scaling") or {}),
        norm_epsilon=float(fields.get("rms_norm_eps", 1e-6)),
        tied=bool(fields.get("tie_word_embeddings", False)),
    )


def _scaling(fields: dict[str, Any]) -> RopeScaling | None:
    kind = fields.get("rope_type", fields.get("type", "default"))
    if fields.get("partial_rotary_factor", 1.0) != 1.0:
        raise ValueError("it rotates only part of each head (partial_rotary_factor), which Llama models do not")
    if kind == "default":
        return None
    if kind != "llama3":
        raise ValueError(f"it scales rotary positions by the method {kind!r}; only 'llama3' can be read")
    return RopeScaling(
        factor=float(fields["factor"]),
        low_frequency_factor=float(fields["low_freq_factor"]),
        high_frequency_factor=float(fields["high_freq_factor"]),
        original_context=int(fields["original_max_position_embeddings"]),
    )


def load_config(folder: Path) -> ModelConfig:
    """The shape of the model in `folder`, without its weights. Raises ValueError as `load` does."""
    return from_json(_read_json(folder / "config.json"), str(folder / "config.json"))


def load(folder: Path, *, dtype: torch.dtype = torch.float32) -> Transformer:
    """The model in `folder`: any Llama in one safetensors file or several, tied or not, its weights cast to `dtype`.

    Raises ValueError with one sentence when something is missing, damaged or not a Llama.
    """
    config = load_config(folder)
    ours = {theirs: name for name, theirs in names(config).items()}
    state: dict[str, Tensor] = {}
    head: Tensor | None = None
    for file in _weight_files(folder):
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 (not a mapping)
                    if name.endswith("rotary_emb.inv_freq"):
                        continue
                    # A copy, so that nothing stays mapped to a file that may change under the model.
                    values = tensors.get_tensor(name).to(dtype, copy=True)
                    if config.tied and name == OUTER["output.weight"]:
                        head = values
                    else:
                        state[ours.get(name, name)] = values
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file} cannot be read as safetensors ({error}); copy or download it again") from None
    model = assemble(config, state, str(folder))
    if head is not None and not torch.equal(head, model.embedding.weight):
        raise ValueError(
            f"{folder}: config.json says that output and embedding are tied, but lm_head.weight differs from "
            "model.embed_tokens.weight; set tie_word_embeddings to false"
        )
    return model


def types(folder: Path) -> dict[str, int]:
    """How many tensors in `folder` have each type, such as BF16. Raises ValueError as `load` does."""
    found: Counter[str] = Counter()
    for file in _weight_files(folder):
        try:
            with safe_open(file, framework="pt") as tensors:
                found.update(tensors.get_slice(name).get_dtype() for name in tensors.keys())  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file} cannot be read as safetensors ({error}); copy or download it again") from None
    return dict(found)


def _weight_files(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / INDEX
    if single.is_file():
        return [single]
    if not index.is_file():
        raise ValueError(f"{folder} holds neither model.safetensors nor {INDEX}; convert its weights to safetensors")
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise ValueError(f"{index} has no weight_map; copy or download it again")
    files = [folder / file for file in sorted(set(weight_map.values()))]
    for file in files:
        if file.parent != folder or not file.is_file():
            raise ValueError(f"{index} names {file.name}, which is not in {folder}; copy or download it again")
    return files


def _read_json(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; give a Hugging Face model folder") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error})") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{path} holds no JSON object")
    return fields


def _write_json(path: Path, fields: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
