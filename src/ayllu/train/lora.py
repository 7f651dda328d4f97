"""LoRA: small matrices that are trained beside frozen ones (Hu et al., arXiv:2106.09685, section 4.1).

y = x W' + (alpha / rank) x A' B'. A is drawn, B starts at zero, so that training starts from the base itself.

Shapes: r rank, in and out features of a matrix.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ayllu.model.files.hf import names
from ayllu.model.sample import in_type
from ayllu.model.transformer import Linear, Transformer

MATRICES = ("wq", "wk", "wv", "wo", "w1", "w2", "w3")
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""The files of an adapter, with the names and fields that the library peft reads."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Which matrices get adapters, and how large. Raises ValueError on a rank below 1 or an unknown matrix."""

    rank: int = 16
    alpha: float = 32.0
    matrices: tuple[str, ...] = MATRICES

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank is {self.rank}; it must be at least 1")
        if not 0 < self.alpha < math.inf:
            # llama.cpp takes an adapter whose alpha is 0 or absent without scaling it.
            raise ValueError(f"alpha is {self.alpha}; it must be a number above 0")
        unknown = [name for name in self.matrices if name not in MATRICES]
        if unknown or not self.matrices:
            raise ValueError(f"matrices are {self.matrices}; choose among {', '.join(MATRICES)}")

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


class LoraLinear(nn.Module):
    """A frozen matrix with its adapter, two thin ones."""

    def __init__(self, base: Linear, config: LoraConfig) -> None:
        super().__init__()
        outputs, inputs = base.weight.shape
        self.weight = base.weight
        self.a = nn.Parameter(torch.zeros(config.rank, inputs, device=base.weight.device))
        self.b = nn.Parameter(torch.zeros(outputs, config.rank, device=base.weight.device))
        self.scale = config.scale
        self.enabled = True

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight.to(x.dtype))
        if not self.enabled:
            return y
        return y + F.linear(F.linear(x, self.a.to(x.dtype)), self.b.to(x.dtype)) * self.scale

    def merged(self) -> Tensor:
        """W + (alpha / rank) B A in the weight's type."""
        return self.weight + (self.scale * (self.b @ self.a)).to(self.weight.dtype)


def attach(model: Transformer, config: LoraConfig, *, seed: int = 0) -> Transformer:
    """Freeze `model` and give its matrices adapters drawn from `seed`. Changes and returns it.

    Raises ValueError where it has some already.
    """
    if any(isinstance(module, LoraLinear) for module in model.modules()):
        raise ValueError("the model has an adapter already; merge or detach it first")
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parent, name in list(_places(model, config.matrices)):
        adapter = LoraLinear(getattr(parent, name), config)
        # Kaiming's uniform bound, sqrt(3 / in) / sqrt(3), as in the reference implementation.
        bound = adapter.a.shape[1] ** -0.5
        adapter.a.data.copy_(torch.empty(adapter.a.shape).uniform_(-bound, bound, generator=generator))
        setattr(parent, name, adapter)
    return model


def detach(model: Transformer, *, merge: bool) -> Transformer:
    """Take the adapters away: with `merge` what they learnt goes into the matrices, else the base is as it was."""
    for parent, name in list(_places(model, MATRICES)):
        adapter = getattr(parent, name)
        if isinstance(adapter, LoraLinear):
            plain = Linear.__new__(Linear)
            nn.Module.__init__(plain)
            plain.weight = nn.Parameter(adapter.merged().detach()) if merge else adapter.weight
            setattr(parent, name, plain)
    return model.requires_grad_(True)


@torch.no_grad()
def merged(model: Transformer, dtype: torch.dtype) -> Transformer:
    """A model that computes in `dtype` what `model` does, its adapter merged; `model` itself where nothing differs."""
    if not any(isinstance(module, LoraLinear) for module in model.modules()):
        return in_type(model, dtype)
    memo: dict[int, Any] = {}
    for parent, name in _places(model, MATRICES):
        adapter = getattr(parent, name)
        if isinstance(adapter, LoraLinear):
            plain = Linear.__new__(Linear)
            nn.Module.__init__(plain)
            plain.weight = nn.Parameter(adapter.merged().to(dtype), requires_grad=False)
            memo[id(adapter)] = plain
    # What deepcopy finds in its memo is not copied again: the frozen rest is shared, then cast.
    memo |= {id(weight): weight for weight in model.parameters()}
    return in_type(copy.deepcopy(model, memo), dtype)


@contextlib.contextmanager
def disabled(model: Transformer) -> Iterator[Transformer]:
    """The base under the adapter, for as long as the block lasts."""
    adapters = [module for module in model.modules() if isinstance(module, LoraLinear)]
    if not adapters:
        raise ValueError("the model has no adapter, so there is no base to go back to: attach one first")
    for adapter in adapters:
        adapter.enabled = False
    try:
        yield model
    finally:
        for adapter in adapters:
            adapter.enabled = True


def save_adapter(folder: Path, model: Transformer, config: LoraConfig) -> None:
    """Write the adapter alone, as peft would: several can so share one base."""
    theirs = names(model.config)
    tensors, targets = {}, set()
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            place = "base_model.model." + theirs[f"{name}.weight"].removesuffix(".weight")
            tensors[f"{place}.lora_A.weight"] = module.a.detach().contiguous()
            tensors[f"{place}.lora_B.weight"] = module.b.detach().contiguous()
            targets.add(place.rpartition(".")[2])
    save_file(tensors, folder / WEIGHTS)
    fields = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": config.rank,
        "lora_alpha": config.alpha,
        "use_rslora": False,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(targets),
        "ayllu": asdict(config),
    }
    (folder / CONFIG).write_text(json.dumps(fields, indent=2) + "\n")


def load_adapter(folder: Path, model: Transformer) -> LoraConfig:
    """Give `model` the adapter in `folder`. Raises ValueError where the two do not fit together."""
    own = json.loads((folder / CONFIG).read_text()).get("ayllu")
    if own is None:
        raise ValueError(f"{folder / CONFIG} was not written by Ayllu")
    config = LoraConfig(**own | {"matrices": tuple(own["matrices"])})
    attach(model, config)
    theirs, tensors = names(model.config), load_file(folder / WEIGHTS)
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            place = "base_model.model." + theirs[f"{name}.weight"].removesuffix(".weight")
            for weight, part in ((module.a, "lora_A"), (module.b, "lora_B")):
                found = tensors.pop(f"{place}.{part}.weight", None)
                if found is None or found.shape != weight.shape:
                    raise ValueError(f"{folder} does not fit the model: {place}.{part} is missing or of another shape")
                weight.data.copy_(found)
    if tensors:
        raise ValueError(f"{folder} holds {min(tensors)}, which the model has no place for")
    return config


def _places(model: Transformer, matrices: tuple[str, ...]) -> Iterator[tuple[nn.Module, str]]:
    wanted = re.compile(rf"blocks\.\d+\.\w+\.({'|'.join(matrices)})")
    modules = dict(model.named_modules())
    for path in modules:
        if wanted.fullmatch(path):
            parent, _, name = path.rpartition(".")
            yield modules[parent], name
