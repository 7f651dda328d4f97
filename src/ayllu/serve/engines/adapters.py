"""LoRA adapters on one base: which request has which, by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig
from ayllu.model.files.peft import Adapter, LowRank, read_adapter
from ayllu.model.transformer import Linear, Transformer
from ayllu.serve.engines.turn_lock import TurnLock


def read_adapters(folders: Mapping[str, Path], config: ModelConfig) -> dict[str, Adapter]:
    """Those in `folders` by name, for a model of the shape `config`; UserError where one cannot be served."""
    found = {}
    for name, folder in folders.items():
        try:
            found[name] = read_adapter(folder, config)
        except ValueError as error:
            raise UserError(f"the adapter {name} cannot be served: {error}") from None
    return found


class SwitchedAdapters:
    """The adapters of a model that computes for one request at a time: one of them is on, or none.

    The base's own matrices are left as they are, so that without an adapter the base answers to the bit.
    """

    def __init__(self, model: Transformer, adapters: Mapping[str, Adapter]) -> None:
        self._matmuls: dict[str, dict[Linear, _AdaptedMatmul]] = {}
        self._on: str | None = None
        for name, adapter in adapters.items():
            places = {model.get_submodule(n.removesuffix(".weight")): m for n, m in adapter.matrices.items()}
            self._matmuls[name] = {
                module: _AdaptedMatmul(matrix, module.weight)
                for module, matrix in places.items()
                if isinstance(module, Linear)
            }

    def switch(self, name: str | None) -> None:
        """Compute with the adapter `name` from now on, with none for None."""
        if name == self._on:
            return
        for module in self._matmuls.get(self._on or "", {}):
            del module.matmul  # the class's own, as in a model without adapters
        for module, matmul in self._matmuls.get(name or "", {}).items():
            module.matmul = matmul
        self._on = name


class BaseTurn:
    """A turn in which the model computes without an adapter; may be taken again and again."""

    def __init__(self, turns: TurnLock, adapters: SwitchedAdapters) -> None:
        self._turns, self._adapters = turns, adapters

    def __enter__(self) -> None:
        self._turns.__enter__()
        self._adapters.switch(None)

    def __exit__(self, *problem: object) -> None:
        self._turns.__exit__(*problem)


class _AdaptedMatmul:
    def __init__(self, matrix: LowRank, weight: Tensor) -> None:
        self._a, self._b, self._scale = matrix.a.to(weight.device), matrix.b.to(weight.device), matrix.scale

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        low = F.linear(F.linear(x, self._a.to(x.dtype)), self._b.to(x.dtype))
        return F.linear(x, weight) + low * self._scale
