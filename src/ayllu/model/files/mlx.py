"""MLX folders, as mlx-lm reads them on Apple's machines: Hugging Face's names, matrices in whole numbers where wanted.

In few bits a matrix is three tensors: integers packed into 32-bit words, lowest bits first, and a scale and an offset
for each group of 32 of a row: a weight is scale · q + offset (`mx.quantize`). config.json says so, and where a matrix
has other bits than most: embedding and output projection keep eight.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ayllu.model.files import hf
from ayllu.model.files.hf_config import from_json
from ayllu.model.files.quantize.blocks import FOUR
from ayllu.model.files.quantize.fit import fit_affine, fit_scale, inverse
from ayllu.model.files.quantize.types import BLOCK
from ayllu.model.files.weights import TORCH_TYPES, assemble, replacing, stored
from ayllu.model.transformer import Transformer

Type = Literal["F32", "F16", "BF16", "Q8_0", "Q4_1", "Q4_0"]
TYPES: tuple[Type, ...] = ("F32", "F16", "BF16", "Q8_0", "Q4_1", "Q4_0")
FILE = "model.safetensors"


def write(folder: Path, model: Transformer, *, dtype: Type, bos: int | None, stops: list[int], pad: int | None) -> None:
    """Write weights and configuration into `folder`. Raises ValueError where rows are no whole groups."""
    few = dtype not in TORCH_TYPES
    if few and any(size % BLOCK for size in (model.config.width, model.config.feed_forward)):
        raise ValueError(f"{dtype} needs rows of whole groups of {BLOCK} weights; write F16")
    kind = TORCH_TYPES.get(dtype, torch.float16)
    names, tensors = hf.names(model.config), dict[str, Tensor]()
    for ours, values in stored(model):
        exact = values.detach().float()
        if few and exact.dim() == 2:
            place = names[ours].removesuffix(".weight")
            tensors |= {f"{place}.{part}": each for part, each in _grouped(exact, _form(dtype, ours), ours)}
        else:
            tensors[names[ours]] = exact.to(kind).contiguous()
    with replacing(folder / FILE) as temporary:
        save_file(tensors, temporary, metadata={"format": "mlx"})
    hf.save_config(folder, model.config, dtype=kind, bos=bos, stops=stops, pad=pad)
    if few:
        fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        fields["quantization"] = fields["quantization_config"] = _quantization(dtype, names)
        with replacing(folder / "config.json") as temporary:
            temporary.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def _form(dtype: Type, ours: str) -> Type:
    return "Q8_0" if ours in ("embedding.weight", "output.weight") else dtype


def _quantization(dtype: Type, names: dict[str, str]) -> dict[str, Any]:
    bits = {"Q8_0": 8}.get(dtype, 4)
    others = [names[ours].removesuffix(".weight") for ours in ("embedding.weight", "output.weight") if ours in names]
    eight = {"group_size": BLOCK, "bits": 8}
    return {"group_size": BLOCK, "bits": bits, "mode": "affine"} | ({} if bits == 8 else dict.fromkeys(others, eight))


def _grouped(weight_NK: Tensor, form: Type, ours: str) -> Iterator[tuple[str, Tensor]]:
    """The three tensors of a matrix. Raises ValueError where half precision has no scale for it."""
    N, K = weight_NK.shape
    groups = weight_NK.reshape(-1, BLOCK)
    scale, offset, top = _fit(groups, form)
    scale, offset = scale.half(), offset.half()
    if not bool(torch.isfinite(scale).all() and torch.isfinite(offset).all()):
        raise ValueError(f"{ours} has values beyond the range of {form}, or none at all; write F32")
    ints = ((groups - offset.float()[:, None]) * inverse(scale.float())[:, None]).round().clamp(0, top).to(torch.uint8)
    if top == 15:
        ints = ints[:, ::2] | ints[:, 1::2] << 4
    yield "weight", ints.reshape(N, -1).contiguous().view(torch.uint32)
    yield "scales", scale.reshape(N, K // BLOCK)
    yield "biases", offset.reshape(N, K // BLOCK)


def _fit(groups: Tensor, form: Type) -> tuple[Tensor, Tensor, int]:
    """Scales and offsets of groups, and the largest integer."""
    if form == "Q8_0":
        scale = (groups.abs().amax(-1) / 127).half().float()
        return scale, -128 * scale, 255
    if form == "Q4_0":
        scale = fit_scale(groups, torch.ones_like(groups), FOUR).half().float()
        return scale, -8 * scale, 15
    return *fit_affine(groups, torch.ones_like(groups), 15, signed=True), 15


def read(folder: Path) -> Transformer:
    """The model in `folder` in float32, as mlx-lm computes it but for rounding between."""
    fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for name in ("quantization", "quantization_config"):
        fields.pop(name, None)
    config = from_json(fields, str(folder / "config.json"))
    tensors = load_file(folder / FILE)
    state = {}
    for ours, theirs in hf.names(config).items():
        place = theirs.removesuffix(".weight")
        values = tensors[theirs]
        if f"{place}.scales" in tensors:
            values = _ungrouped(values, tensors[f"{place}.scales"], tensors[f"{place}.biases"])
        state[ours] = values.float()
    return assemble(config, state, str(folder))


def _ungrouped(words: Tensor, scales_NG: Tensor, biases_NG: Tensor) -> Tensor:
    N, G = scales_NG.shape
    ints = words.view(torch.uint8)
    if ints.shape[1] < G * BLOCK:
        ints = torch.stack([ints & 15, ints >> 4], -1)
    return (ints.reshape(N, G, BLOCK).float() * scales_NG.float()[..., None] + biases_NG.float()[..., None]).reshape(
        N, -1
    )
