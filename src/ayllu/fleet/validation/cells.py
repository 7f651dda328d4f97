"""Numbers in the cells of a row, and the reason where a row cannot be scored."""

from __future__ import annotations

from collections.abc import Mapping

from ayllu.fleet.validation.columns import MISSING, number

COUNTS = frozenset(
    (
        *("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab", "seq_len", "adapter_rank"),
        *("gpus", "tp", "pp", "cp", "dp", "ep", "vpp"),
    )
)
"""Columns of whole numbers."""
LARGEST = 1e15
"""No count, rate or time of a run is larger in the units of these tables."""


class Unusable(ValueError):
    """A row that cannot be scored, with the reason."""


def cell(row: Mapping[str, str], name: str) -> float | None:
    """The number in a column; None where the row has none. Raises Unusable for what cannot be one."""
    text = row.get(name, "")
    if text.strip().lower() in MISSING:
        return None
    value = number(name, text)
    if value is None:
        raise Unusable(f"{name} is no number in a known unit")
    if value <= 0:
        raise Unusable(f"{name} is not above 0")
    if value > LARGEST:
        raise Unusable(f"{name} is too large to be true")
    if name in COUNTS and value != int(value):
        raise Unusable(f"{name} is no whole number")
    return value
