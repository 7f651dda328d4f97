"""What a model computes in while it is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from ayllu.lab.error import UserError

if TYPE_CHECKING:
    import torch

Dtype = Literal["float32", "bfloat16"]
LARGE = 2_000_000_000
"""Parameters from which a recipe measures in bfloat16: in float32 such a model is too large for a small machine."""


def check_dtype(name: str) -> None:
    """Raise UserError for a type in which nothing is measured."""
    if name not in get_args(Dtype):
        raise UserError(f"dtype is {name!r}; choose {' or '.join(get_args(Dtype))}")


def torch_dtype(name: str) -> torch.dtype:
    """The type that is called so. UserError for one in which nothing is measured."""
    check_dtype(name)
    import torch

    return torch.float32 if name == "float32" else torch.bfloat16


def dtype_for(parameters: int) -> Dtype:
    """What a recipe measures a model of that size in, and asks it in when a release is proven."""
    return "bfloat16" if parameters >= LARGE else "float32"
