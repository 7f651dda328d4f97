"""The rotary settings of a `config.json`, in every spelling that transformers reads.

Source: `convert_rope_params_to_dict` and `standardize_rope_params` in modeling_rope_utils.py of transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ayllu.model.config import RopeScaling

ORIGINAL = "original_max_position_embeddings"
_DEFAULT_THETA, _DEFAULT_CONTEXT = 10_000.0, 2048


def read_rotation(fields: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    """Base and scaling. The older `rope_scaling` counts where `rope_parameters` stands beside it.

    Raises KeyError for a missing setting, and ValueError for a method that is not Llama's.
    """
    rope = fields.get("rope_scaling") or fields.get("rope_parameters") or {}
    if not isinstance(rope, Mapping) or any(isinstance(value, Mapping) for value in rope.values()):
        raise ValueError("it does not rotate all layers in one way")
    theta = float(rope.get("rope_theta", fields.get("rope_theta", _DEFAULT_THETA)))
    partial = rope.get("partial_rotary_factor", fields.get("partial_rotary_factor"))
    if partial not in (None, 1.0):
        raise ValueError("it rotates only part of each head (partial_rotary_factor), which Llama models do not")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind != "llama3":
        raise ValueError(f"it scales rotary positions by the method {kind!r}; only 'llama3' can be read")
    original = rope.get(ORIGINAL, fields.get("max_position_embeddings", _DEFAULT_CONTEXT))
    return theta, RopeScaling(
        factor=float(rope["factor"]),
        low_frequency_factor=float(rope["low_freq_factor"]),
        high_frequency_factor=float(rope["high_freq_factor"]),
        original_context=int(fields.get(ORIGINAL, original)),
    )
