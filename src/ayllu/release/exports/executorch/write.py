"""A Llama model as `model.pte`: what ExecuTorch's own environment is handed, and what its runners read beside it.

F32 computes in float32. Q8_0 and Q4_0 round the inputs of every matmul to 8 bits by token, and its weights to 8 bits
with a scale a row or to 4 with one for 32 (ExecuTorch's 8da8w and 8da4w); the embedding and the output projection have
8 bits by row in both. Scales are searched for here, and ExecuTorch gets the integers.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.model.config import ModelConfig
from ayllu.model.files.quantize.fit import Levels, fit_scale, inverse
from ayllu.model.files.quantize.types import BLOCK
from ayllu.model.frequencies import inverse_frequencies
from ayllu.model.transformer import Transformer
from ayllu.release.exports.executorch import environment

Type = Literal["F32", "Q8_0", "Q4_0"]
TYPES: tuple[Type, ...] = ("F32", "Q8_0", "Q4_0")
FILE = "model.pte"
USUAL_CONTEXT = 2048
"""Tokens that a file has room for where nobody says it: keys and values of all of them are memory from the start."""
UP, DOWN = Levels(low=-8, high=7), Levels(low=-8, high=7, reach=(-0.8, -1.1))
"""Four bits whose largest weight, by size, is below zero or above: XNNPACK wants scales above zero."""


def context_of(config: ModelConfig, wanted: int | None) -> int:
    """Tokens that the file has room for; UserError where the model was not made for so many."""
    if wanted is None:
        if config.context > USUAL_CONTEXT:
            say(f"the file has room for {USUAL_CONTEXT:,} of the model's {config.context:,} tokens (--context)")
        return min(config.context, USUAL_CONTEXT)
    if not 2 <= wanted <= config.context:
        raise UserError(f"--context is {wanted:,}; give 2 to {config.context:,} tokens, which the model was made for")
    return wanted


def write(
    folder: Path,
    model: Transformer,
    *,
    dtype: Type = "F32",
    context: int,
    bos: int | None = None,
    stops: Sequence[int] = (),
    importance: Mapping[str, Tensor] | None = None,
) -> None:
    """Write `model.pte` into `folder`. ValueError where the weights do not fit the type or ExecuTorch refuses."""
    if dtype == "Q4_0" and any(
        size % BLOCK
        for size in (model.config.width, model.config.feed_forward, model.config.heads * model.config.head_width)
    ):
        raise ValueError(f"Q4_0 needs rows of whole blocks of {BLOCK} weights; write Q8_0")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".executorch.") as name:
        scratch = Path(name)
        torch.save(stored(model, dtype, context, importance or {}), scratch / "weights.pt")
        (scratch / "job.json").write_text(json.dumps(_job(model.config, dtype, context, bos, stops)))
        environment.run("make", scratch)
        (scratch / FILE).rename(folder / FILE)


def _job(config: ModelConfig, dtype: Type, context: int, bos: int | None, stops: Sequence[int]) -> dict[str, Any]:
    names = ("layers", "heads", "kv_heads", "head_width", "norm_epsilon")
    metadata: dict[str, Any] = {
        "get_max_seq_len": context,
        "get_max_context_len": context,
        "get_vocab_size": config.vocabulary,
        "get_n_layers": config.layers,
        "use_kv_cache": True,
        "use_sdpa_with_kv_cache": True,
        "enable_dynamic_shape": True,
        "get_eos_ids": list(stops),
    }
    if bos is not None:
        metadata["get_bos_id"] = bos
    shape = {name: getattr(config, name) for name in names}
    return {**shape, "context": context, "integers": dtype != "F32", "metadata": metadata}


def stored(model: Transformer, dtype: Type, context: int, importance: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor under our name, matrices as integers and `.scales` where the type has them."""
    angles = np.outer(np.arange(context), np.array(inverse_frequencies(model.config)))
    found = {name: torch.from_numpy(of(angles).astype(np.float32)) for name, of in (("cos", np.cos), ("sin", np.sin))}
    for name, weight in model.state_dict().items():
        values = weight.detach().float().contiguous()
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"{name} holds values that are no finite numbers (NaN or infinite)")
        if dtype == "F32" or values.dim() == 1:
            found[name] = values
            continue
        few = dtype == "Q4_0" and name not in ("embedding.weight", "output.weight")
        integers, scales = _four(values, importance.get(name)) if few else _eight(values)
        found[name] = integers
        found[name.removesuffix("weight") + "scales"] = scales[:, 0] if name == "embedding.weight" else scales
    return found


def _eight(weight_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Integers (N, K) and scales (N, 1)."""
    scales_N1 = weight_NK.abs().amax(-1, keepdim=True) / 127
    return (weight_NK * inverse(scales_N1)).round().to(torch.int8), scales_N1


def _four(weight_NK: Tensor, matters_K: Tensor | None) -> tuple[Tensor, Tensor]:
    """Integers (N, K) and scales (N, K/32), which XNNPACK holds as bfloat16."""
    N, K = weight_NK.shape
    groups = weight_NK.reshape(-1, BLOCK)
    matters = torch.ones_like(groups) if matters_K is None else matters_K.expand(N, K).reshape(-1, BLOCK)
    below = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))[..., 0] < 0
    scales = torch.where(below, fit_scale(groups, matters, UP), fit_scale(groups, matters, DOWN)).bfloat16().float()
    integers = UP.nearest(groups * inverse(scales)[:, None]).to(torch.int8)
    return integers.reshape(N, K), scales.reshape(N, K // BLOCK)
