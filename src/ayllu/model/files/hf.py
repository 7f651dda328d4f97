"""Hugging Face folders: `config.json`, `generation_config.json` and `model.safetensors`, in the layout of Llama models.

Both spellings of the rotary settings are written: `rope_parameters`, which transformers 5 reads, and `rope_theta` with
`rope_scaling`, without which readers of the older layout fall back to a base of 10,000 in silence.
"""

from __future__ import annotations

import json
import math
import posixpath
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ayllu.model.config import ModelConfig
from ayllu.model.files.hf_config import load_config, read_json
from ayllu.model.files.weights import assemble, check_layers, check_shapes, renamed, replacing, stored
from ayllu.model.transformer import Transformer

SHARD_BYTES = 5_000_000_000
"""Weights larger than this are written in several files with an index, as the Hub recommends."""
MAPPED = 1 << 24
"""Numbers of a file that are read before it is opened anew: what was read of it counts as memory until it is closed."""
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
SAMPLING = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.1}
"""What is recommended for models that are made here; the penalty is measured in docs/log.md."""


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
    pad: int | None = None,
    sampling: Mapping[str, Any] = SAMPLING,
    read: Callable[[str], Tensor] | None = None,
) -> None:
    """Write `model` into `folder` (made when missing), its weights in `dtype`; each file appears whole or not at all.

    `read` gives the value of a weight by its name where the model itself is on the meta device: one file's worth of
    them is held at a time. `bos`, `stops` and `pad` are the ids that begin a text, end a reply and fill rows up, and
    `sampling` is how to draw tokens; see `save_config`.
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
    save_config(folder, model.config, dtype=dtype, bos=bos, stops=stops, pad=pad, sampling=sampling)


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
    folder: Path,
    config: ModelConfig,
    *,
    dtype: torch.dtype,
    bos: int | None = None,
    stops: Sequence[int] = (),
    pad: int | None = None,
    sampling: Mapping[str, Any] = SAMPLING,
) -> None:
    """Write `config.json` and `generation_config.json`.

    A Llama 3 chat model has two stops, the end of the text and the end of the turn; engines read them from the list
    `eos_token_id`. Without them a reply never ends. A base model has one, which is no list.
    """
    ends = (list(stops) if len(stops) > 1 else stops[0]) if stops else None
    ids = {"bos_token_id": bos, "eos_token_id": ends} | ({} if pad is None else {"pad_token_id": pad})
    _write_json(folder / "config.json", to_json(config, dtype) | ids)
    _write_json(folder / "generation_config.json", {**ids, **sampling})


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


def load(folder: Path, *, dtype: torch.dtype = torch.float32, matrices: torch.dtype | None = None) -> Transformer:
    """The model in `folder`: any Llama in one safetensors file or several, tied or not, its weights cast to `dtype`.

    `matrices` is the type of those in two dimensions, where it is another: norms are few and stay exact. Raises
    ValueError with one sentence when something is missing, damaged or not a Llama.
    """
    config, matrices = load_config(folder), matrices or dtype
    held = {name: tensor for name, tensor in _held(folder).items() if not name.endswith("rotary_emb.inv_freq")}
    check_layers(config, len(held), str(folder))
    ours = {theirs: name for name, theirs in names(config).items()}
    head, embedding = OUTER["output.weight"], OUTER["embedding.weight"]
    if config.tied and head in held and embedding not in held:
        # One matrix under either name: transformers ties them in both directions.
        ours[head] = "embedding.weight"
    beside = held.pop(head, None) if config.tied and embedding in held else None
    check_shapes(config, {ours.get(name, name): tensor.shape for name, tensor in held.items()}, str(folder))
    state: dict[str, Tensor] = {}
    for file in sorted({tensor.file for tensor in held.values()}):
        for part in _parts({name: tensor for name, tensor in held.items() if tensor.file == file}):
            with _opened(file) as tensors:
                for name in part:
                    # A copy, so that nothing stays mapped to a file that may change under the model.
                    tensor = tensors.get_tensor(name)
                    state[ours[name]] = tensor.to(matrices if tensor.ndim == 2 else dtype, copy=True)
    model = assemble(config, state, str(folder))
    if beside is not None:
        with _opened(beside.file) as tensors:
            if not torch.equal(tensors.get_tensor(head).to(matrices), model.embedding.weight):
                raise ValueError(
                    f"{folder}: config.json says that output and embedding are tied, but lm_head.weight differs from "
                    "model.embed_tokens.weight; set tie_word_embeddings to false"
                )
    return model


def types(folder: Path) -> dict[str, int]:
    """How many tensors in `folder` have each type, such as BF16. Raises ValueError as `load` does."""
    return dict(Counter(tensor.type for tensor in _held(folder).values()))


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A tensor as a file describes it."""

    file: Path
    shape: tuple[int, ...]
    type: str


def _held(folder: Path) -> dict[str, _Held]:
    """Every tensor in `folder` and the file that has it: where there is an index, the one that it names.

    A copy in another file, left over from an earlier save, is passed over.
    """
    files, index = _weight_files(folder)
    held: dict[str, _Held] = {}
    for file in files:
        place = file.relative_to(folder).as_posix()
        with _opened(file) as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a mapping)
                if index.get(name, place) != place:
                    continue
                if name in held:
                    raise ValueError(f"{folder} holds {name} twice, and {INDEX} does not say which of them counts")
                part = tensors.get_slice(name)
                held[name] = _Held(file=file, shape=tuple(part.get_shape()), type=part.get_dtype())
    missing = next((name for name in index if name not in held), None)
    if missing is not None:
        raise ValueError(f"{folder / INDEX} says that {index[missing]} holds {missing}, which it does not")
    return held


def _parts(held: Mapping[str, _Held]) -> Iterator[list[str]]:
    """Names of tensors, some of them at a time: of at most `MAPPED` numbers, or one that has more."""
    part: list[str] = []
    numbers = 0
    for name, tensor in held.items():
        size = math.prod(tensor.shape)
        if part and numbers + size > MAPPED:
            yield part
            part, numbers = [], 0
        part.append(name)
        numbers += size
    yield part


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with safe_open(file, framework="pt") as tensors:
            yield tensors
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} cannot be read as safetensors ({error}); copy or download it again") from None


def _weight_files(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """The files of weights, and the file of each tensor where an index says it."""
    single, index = folder / "model.safetensors", folder / INDEX
    if single.is_file():
        return [single], {}
    if not index.is_file():
        raise ValueError(f"{folder} holds neither model.safetensors nor {INDEX}; convert its weights to safetensors")
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise ValueError(f"{index} has no weight_map; copy or download it again")
    weight_map = {name: posixpath.normpath(file) for name, file in weight_map.items()}  # `./a.safetensors` too
    files = [folder / file for file in sorted(set(weight_map.values()))]
    for file in files:
        if file.parent != folder or not file.is_file():
            raise ValueError(f"{index} names {file.name}, which is not in {folder}; copy or download it again")
    return files, weight_map


def _write_json(path: Path, fields: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
