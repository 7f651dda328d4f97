"""Meta's own layout: `params.json` and one `consolidated.NN.pth` for each model-parallel part.

Rows of wq and wk are in the order that rotates neighbours. Parts hold slices of most matrices and whole norms. Sources:
`llama3/args.py`, `llama3/model.py` and the parallel layers that it uses, in meta-llama/llama-models.
"""

from __future__ import annotations

import json
import math
import pickle
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ayllu.model.config import ModelConfig, RopeScaling, llama_feed_forward
from ayllu.model.files.weights import (
    TORCH_TYPES,
    assemble,
    check_layers,
    renamed,
    replacing,
    rotary_heads,
    stored,
    to_halves,
    to_neighbours,
)
from ayllu.model.transformer import Transformer

PARAMS = "params.json"
OUTER = {"embedding.weight": "tok_embeddings.weight", "norm.weight": "norm.weight", "output.weight": "output.weight"}
INNER = {
    "attention_norm": "attention_norm",
    "attention.wq": "attention.wq",
    "attention.wk": "attention.wk",
    "attention.wv": "attention.wv",
    "attention.wo": "attention.wo",
    "feed_forward_norm": "ffn_norm",
    "feed_forward.w1": "feed_forward.w1",
    "feed_forward.w2": "feed_forward.w2",
    "feed_forward.w3": "feed_forward.w3",
}
CONTEXT, SCALED_CONTEXT = 8192, 131_072
"""Contexts of Llama 3 and of Llama 3.1 and later: the files do not say them."""
SMALL_FACTOR, SMALL_LAYERS = 32.0, 28
"""Llama 3.2 1B and 3B, the scaled models of up to so many layers, stretch rotary positions by this factor: the
configurations on Hugging Face say so, Meta's files do not. `write` adds `rope_scaling_factor`, which Meta's own loader
passes over; so it does with `context_length`."""


def write(folder: Path, model: Transformer, *, dtype: torch.dtype = torch.bfloat16, parts: int = 1) -> None:
    """Write `model` into `folder` in `parts` files; a tied output projection is written out, as Meta does.

    Raises ValueError for what the layout cannot say: a head width other than D/H, scaling other than Llama 3.1's, and
    a shape that cannot be cut into so many parts.
    """
    config = model.config
    params = to_params(config)
    if config.kv_heads % parts or config.feed_forward % parts or config.vocabulary % parts:
        raise ValueError(f"the model cannot be cut into {parts} parts: heads, feed-forward and vocabulary must divide")
    names = renamed(config, OUTER, INNER, "layers.{}")
    tensors = {}
    for ours, tensor in stored(model):
        heads = rotary_heads(config, ours)
        values = tensor.detach().to(device="cpu", dtype=dtype)
        tensors[names[ours]] = to_neighbours(values, heads) if heads else values
    tensors.setdefault(OUTER["output.weight"], tensors[OUTER["embedding.weight"]])
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(parts):
        state = {}
        for name, values in tensors.items():
            axis = _axis(name)
            state[name] = (values if axis is None else values.chunk(parts, axis)[part]).clone()
        with replacing(folder / f"consolidated.{part:02d}.pth") as temporary:
            torch.save(state, temporary)
    with replacing(folder / PARAMS) as temporary:
        temporary.write_text(json.dumps(params) + "\n", encoding="utf-8")


def to_params(config: ModelConfig) -> dict[str, Any]:
    """The fields of `params.json`. Raises ValueError for a configuration that it cannot say."""
    if config.head_width * config.heads != config.width:
        raise ValueError(
            f"Meta's layout has heads of width D/H, this model has {config.head_width}; it cannot be written"
        )
    scaling = config.rope_scaling
    if scaling is not None and scaling != RopeScaling(factor=scaling.factor):
        raise ValueError("Meta's layout scales rotary positions by Llama 3.1's settings only; this model has others")
    # Meta rounds a multiple of 8/3 D up to `multiple_of`; this multiplier and power of two give F again.
    multiple = math.gcd(config.feed_forward, 1024)
    multiplier = config.feed_forward / int(2 * 4 * config.width / 3)
    if llama_feed_forward(config.width, multiple_of=multiple, multiplier=multiplier) != config.feed_forward:
        raise ValueError(f"Meta's layout cannot say the feed-forward width {config.feed_forward}")
    params = {
        "dim": config.width,
        "n_layers": config.layers,
        "n_heads": config.heads,
        "n_kv_heads": config.kv_heads,
        "vocab_size": config.vocabulary,
        "multiple_of": multiple,
        "ffn_dim_multiplier": multiplier,
        "norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_theta,
        "use_scaled_rope": scaling is not None,
        "context_length": config.context,
    }
    return params | ({"rope_scaling_factor": scaling.factor} if scaling else {})


def read(folder: Path, *, context: int | None = None, dtype: torch.dtype = torch.float32) -> Transformer:
    """The model in `folder`, its parts joined; nothing but tensors is unpickled.

    `context` overrides the context length, which Meta's files do not say. An output projection equal to the embedding
    is taken to be tied. Raises ValueError with one sentence when something is missing, damaged or not a Llama.
    """
    files = sorted(folder.glob("consolidated.*.pth"))
    if not files:
        raise ValueError(f"{folder} holds no consolidated.*.pth; give the folder of Meta's download")
    params = _params(folder / PARAMS)
    parts = [_load(file) for file in files]
    try:
        tensors = {name: _join(name, [part[name] for part in parts], params).to(dtype, copy=True) for name in parts[0]}
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{folder}: the {len(files)} parts do not belong together ({error})") from None
    tensors.pop("rope.freqs", None)
    config = _config(params, tensors, context, folder)
    check_layers(config, len(tensors), str(folder))
    ours = {theirs: name for name, theirs in renamed(config, OUTER, INNER, "layers.{}").items()}
    if config.tied:
        del tensors[OUTER["output.weight"]]
    state = {}
    for theirs, values in tensors.items():
        name = ours.get(theirs, theirs)
        heads = rotary_heads(config, name)
        state[name] = (to_halves(values, heads) if heads else values).contiguous()
    return assemble(config, state, str(folder))


def types(folder: Path) -> dict[str, int]:
    """How many tensors of the first part have each type, such as BF16. Raises ValueError as `read` does."""
    files = sorted(folder.glob("consolidated.*.pth"))
    if not files:
        raise ValueError(f"{folder} holds no consolidated.*.pth; give the folder of Meta's download")
    _params(folder / PARAMS)
    names = {dtype: name for name, dtype in TORCH_TYPES.items()}
    return dict(Counter(names.get(values.dtype, str(values.dtype)) for values in _load(files[0]).values()))


def _params(path: Path) -> dict[str, Any]:
    try:
        params = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; it lies beside the weights in Meta's download") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error})") from None
    missing = [name for name in ("dim", "n_layers", "n_heads", "norm_eps") if name not in params]
    if missing:
        raise ValueError(f"{path} lacks {missing[0]!r}; it does not describe a Llama model")
    if params.get("moe_args") or params.get("quantization_args") or params.get("vision_chunk_size", -1) > 0:
        raise ValueError(f"{path} describes experts, quantization or vision, which this architecture does not have")
    return params


def _load(file: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{file} cannot be read as weights ({reason}); copy or download it again") from None
    if not isinstance(state, dict) or not all(isinstance(values, Tensor) for values in state.values()):
        raise ValueError(f"{file} holds something other than named tensors")
    return state


def _axis(name: str) -> int | None:
    """Along which axis a tensor is cut into parts: outputs, inputs (of what writes the stream), or not at all."""
    if name.endswith(("wo.weight", "w2.weight")):
        return 1
    return None if name.endswith("norm.weight") or name == "rope.freqs" else 0


def _join(name: str, slices: list[Tensor], params: Mapping[str, Any]) -> Tensor:
    axis = _axis(name)
    if axis is None or len(slices) == 1:
        return slices[0]
    if name == OUTER["embedding.weight"] and slices[0].shape[1] != params["dim"]:
        # Before Llama 3 the embedding was cut along the width.
        axis = 1
    return torch.cat(slices, axis)


def _config(params: Mapping[str, Any], tensors: Mapping[str, Tensor], context: int | None, folder: Path) -> ModelConfig:
    embedding, output = tensors.get(OUTER["embedding.weight"]), tensors.get(OUTER["output.weight"])
    inner = tensors.get("layers.0.feed_forward.w1.weight")
    if embedding is None or output is None or inner is None:
        raise ValueError(f"{folder} lacks the embedding, the output projection or the first block; it is incomplete")
    layers, scaled = int(params["n_layers"]), bool(params.get("use_scaled_rope"))
    usual = SMALL_FACTOR if layers <= SMALL_LAYERS else RopeScaling().factor
    scaling = RopeScaling(factor=float(params.get("rope_scaling_factor") or usual))
    return ModelConfig(
        vocabulary=embedding.shape[0],
        layers=layers,
        width=int(params["dim"]),
        heads=int(params["n_heads"]),
        kv_heads=int(params.get("n_kv_heads") or params["n_heads"]),
        feed_forward=inner.shape[0],
        context=context or int(params.get("context_length") or (SCALED_CONTEXT if scaled else CONTEXT)),
        rope_theta=float(params.get("rope_theta", 10_000.0)),
        rope_scaling=scaling if scaled else None,
        norm_epsilon=float(params["norm_eps"]),
        tied=torch.equal(embedding, output),
    )
