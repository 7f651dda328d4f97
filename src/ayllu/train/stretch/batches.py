"""Batches as plain files: tensors under the path of their field, and everything else as JSON. Nothing is pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

from torch import Tensor

MODULES = {
    "Batch": "ayllu.data.tokens.loader",
    "ConversationBatch": "ayllu.train.objectives.sft",
    "KLAnchoredBatch": "ayllu.train.objectives.kl_anchor",
    "PairBatch": "ayllu.train.objectives.dpo",
    "RolloutBatch": "ayllu.train.objectives.grpo",
    "SharedPrefix": "ayllu.model.transformer",
    "SharedPrefixRows": "ayllu.train.objectives.shared_prefix",
}
"""What a batch may be made of, and where that is: a closed list, so that no file names a class to be made. By name,
so that a training reaches the code of its own batches only."""
DEEPEST = 6


def to_parts(value: Any, path: str = "batch") -> tuple[Any, dict[str, Tensor]]:
    """A batch as JSON and the tensors that it names by path. Raises TypeError for what is none of `MODULES`."""
    if isinstance(value, Tensor):
        return {"tensor": path}, {path: value.detach().cpu().clone().contiguous()}
    if value is None or isinstance(value, int | float | str):
        return {"value": value}, {}
    if not is_dataclass(value) or MODULES.get(type(value).__name__) != type(value).__module__:
        raise TypeError(f"{path} is a {type(value).__name__}, which no stretch can hold")
    told: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for field in fields(value):
        told[field.name], own = to_parts(getattr(value, field.name), f"{path}.{field.name}")
        tensors |= own
    return {"kind": type(value).__name__, "fields": told}, tensors


def from_parts(told: Mapping[str, Any], tensors: Mapping[str, Tensor], *, depth: int = 0) -> Any:
    """What `to_parts` was given. Raises ValueError, KeyError or TypeError for anything else."""
    if depth > DEEPEST:
        raise ValueError("the batch is nested too deeply")
    if "tensor" in told:
        return tensors[told["tensor"]]
    if "value" in told:
        return told["value"]
    kind = getattr(import_module(MODULES[told["kind"]]), told["kind"])
    return kind(**{name: from_parts(inner, tensors, depth=depth + 1) for name, inner in told["fields"].items()})
