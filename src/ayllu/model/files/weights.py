"""What the file formats share: the model's tensors by name, and the two orders of rotary features.

Shapes: D model width, H query heads, h head width.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from ayllu.model.config import ModelConfig
from ayllu.model.transformer import Transformer

TORCH_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""The types that weights are stored in, by their names in safetensors and GGUF."""
OUTER = ("embedding.weight", "norm.weight", "output.weight")
"""Our names of the tensors outside the blocks."""
INNER = (
    "attention_norm",
    "attention.wq",
    "attention.wk",
    "attention.wv",
    "attention.wo",
    "feed_forward_norm",
    "feed_forward.w1",
    "feed_forward.w2",
    "feed_forward.w3",
)
"""Our names of the modules inside a block; each has one weight."""


def renamed(config: ModelConfig, outer: Mapping[str, str], inner: Mapping[str, str], block: str) -> dict[str, str]:
    """Our name of every tensor to its name in a format whose blocks are called `block` (with `{}` for the number).

    A tied output projection has no entry: the formats store it once, as the embedding.
    """
    names = {ours: outer[ours] for ours in OUTER if ours != "output.weight" or not config.tied}
    for layer in range(config.layers):
        for ours in INNER:
            names[f"blocks.{layer}.{ours}.weight"] = f"{block.format(layer)}.{inner[ours]}.weight"
    return names


def check_layers(config: ModelConfig, held: int, where: str) -> None:
    """Raises ValueError where `config` asks for more layers than there are tensors: before anything counts them out."""
    if config.layers > held:
        raise ValueError(
            f"{where}: its configuration asks for {config.layers:,} layers, but only {held:,} tensors are there; "
            "weights and configuration do not belong together"
        )


def check_shapes(config: ModelConfig, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Compare the shapes of what a file holds, by our names, with what `config` asks for; a tied output is left out.

    Raises ValueError naming the first tensor that is missing, unexpected or of another shape, and the file `where`.
    """
    seen = set()
    for name, expected in _expected_shapes(config):
        if name not in shapes:
            raise ValueError(f"{where} lacks the weights {name}; the file is incomplete or of another architecture")
        if shapes[name] != expected:
            raise ValueError(
                f"{where}: {name} has the shape {shapes[name]}, its configuration asks for {expected}; weights and "
                "configuration do not belong together"
            )
        seen.add(name)
    extra = sorted(shapes.keys() - seen)
    if extra:
        raise ValueError(f"{where} holds {extra[0]}, which is not part of the Llama architecture")


def _expected_shapes(config: ModelConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, inner = config.width, config.feed_forward
    queries, keys = config.heads * config.head_width, config.kv_heads * config.head_width
    shapes: dict[str, tuple[int, ...]] = {
        "attention_norm": (width,),
        "attention.wq": (queries, width),
        "attention.wk": (keys, width),
        "attention.wv": (keys, width),
        "attention.wo": (width, queries),
        "feed_forward_norm": (width,),
        "feed_forward.w1": (inner, width),
        "feed_forward.w2": (width, inner),
        "feed_forward.w3": (inner, width),
    }
    yield "embedding.weight", (config.vocabulary, width)
    for layer in range(config.layers):
        for name, shape in shapes.items():
            yield f"blocks.{layer}.{name}.weight", shape
    yield "norm.weight", (width,)
    if not config.tied:
        yield "output.weight", (config.vocabulary, width)


def assemble(config: ModelConfig, tensors: Mapping[str, Tensor], where: str) -> Transformer:
    """The model that holds `tensors` (by our names; without `output.weight` where tied).

    Raises ValueError as `check_shapes` does.
    """
    check_shapes(config, {name: tuple(values.shape) for name, values in tensors.items()}, where)
    with torch.device("meta"):
        model = Transformer(config)
    state: dict[str, Tensor] = dict(tensors)
    if config.tied:
        state["output.weight"] = state["embedding.weight"]
    model.load_state_dict(state, assign=True)
    if config.tied:
        model.output.weight = model.embedding.weight
    return model


def stored(model: Transformer) -> Iterator[tuple[str, Tensor]]:
    """Our name and values of every tensor that a file must hold: a tied output projection is left out."""
    for name, tensor in model.state_dict().items():
        if name != "output.weight" or not model.config.tied:
            yield name, tensor


def to_neighbours(weight: Tensor, heads: int) -> Tensor:
    """Rows of wq or wk for formats that rotate neighbours (2i, 2i + 1), from ours, which rotates halves (i, i + h/2).

    Source: `permute` in llama.cpp's conversion of Llama models.
    """
    rows = weight.shape[0]
    return weight.reshape(heads, 2, rows // heads // 2, -1).transpose(1, 2).reshape(weight.shape)


def to_halves(weight: Tensor, heads: int) -> Tensor:
    """The inverse of `to_neighbours`."""
    rows = weight.shape[0]
    return weight.reshape(heads, rows // heads // 2, 2, -1).transpose(1, 2).reshape(weight.shape)


def rotary_heads(config: ModelConfig, name: str) -> int | None:
    """How many heads the rows of the tensor `name` (ours) belong to when rotary positions turn them, else None."""
    if name.endswith(".wq.weight"):
        return config.heads
    return config.kv_heads if name.endswith(".wk.weight") else None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary sibling to write to; it becomes `path` when the block ends well, and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes the file private; what is published must be readable.
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
