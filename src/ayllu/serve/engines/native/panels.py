"""Sizes of what the engine's kernels read."""

from __future__ import annotations

PANEL, GROUP = 16, 32
"""Rows that are computed together, and columns that share a scale."""
BITS = (4, 8, 16)
HEAD_BITS = 8
"""Least bits of embedding and output projection: errors there fall on every token, as llama.cpp has it in its Q4_0."""


def padded(size: int, multiple: int) -> int:
    """The next multiple."""
    return -(-size // multiple) * multiple
