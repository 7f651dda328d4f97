"""What a machine is said to be able to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ayllu.train import machine


@pytest.mark.parametrize(
    ("bf16", "float32", "expected"),
    [
        ([1.0, 1.0, 9.0], [2.0, 2.0, 2.0], "bf16"),
        ([1.9, 1.9, 1.9], [2.0, 2.0, 2.0], "float32"),
        # One slow moment of either is not what the machine can do.
        ([1.0, 30.0, 30.0], [2.0, 2.0, 2.0], "bf16"),
        ([1.9, 1.9, 1.9], [60.0, 2.0, 60.0], "float32"),
    ],
)
def test_the_faster_type_is_chosen_from_the_best_of_turns(
    monkeypatch: pytest.MonkeyPatch, bf16: list[float], float32: list[float], expected: str
) -> None:
    def matmul(size: int, dtype: torch.dtype) -> Callable[[], float]:
        # The first product of each warms up.
        seconds = iter([0.0, *(bf16 if dtype is torch.bfloat16 else float32)])
        return lambda: next(seconds)

    monkeypatch.setattr(machine, "_matmul", matmul)
    assert machine.fastest_precision() == expected


def test_emulated_bf16_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """On processors without instructions for it one large product takes seconds."""
    sizes: list[int] = []

    def matmul(size: int, dtype: torch.dtype) -> Callable[[], float]:
        sizes.append(size)
        return lambda: 5.0 if dtype is torch.bfloat16 else 0.1

    monkeypatch.setattr(machine, "_matmul", matmul)
    assert machine.fastest_precision() == "float32"
    assert max(sizes) < machine.SIZE
