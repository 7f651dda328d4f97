"""`config.json` of a Hugging Face folder as a shape, read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ayllu.model.config import NOT_SUPPORTED, ModelConfig
from ayllu.model.files.rope_settings import read_rotation


def from_json(fields: dict[str, Any], where: str = "config.json") -> ModelConfig:
    """The shape that a `config.json` describes; fields that it leaves out have the values that transformers gives them.

    Raises ValueError naming the first setting that is missing or that this architecture does not have.
    """
    if fields.get("model_type") != "llama":
        raise ValueError(f"{where} describes a {fields.get('model_type')!r} model; only model_type 'llama' can be read")
    for setting, only in NOT_SUPPORTED.items():
        if fields.get(setting, only) not in (only, None):
            raise ValueError(f"{where} sets {setting} to {fields[setting]!r}, which this architecture does not have")
    try:
        return _shape(fields)
    except KeyError as missing:
        raise ValueError(f"{where} lacks {missing.args[0]!r}; it does not describe a Llama model") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where} cannot be used: {error}") from None


def _shape(fields: dict[str, Any]) -> ModelConfig:
    theta, scaling = read_rotation(fields)
    width, heads = _whole(fields["hidden_size"]), _whole(fields["num_attention_heads"])
    tied = fields.get("tie_word_embeddings") or False
    if not isinstance(tied, bool):
        raise ValueError(f"tie_word_embeddings is {tied!r}, neither true nor false")
    return ModelConfig(
        vocabulary=_whole(fields["vocab_size"]),
        layers=_whole(fields["num_hidden_layers"]),
        width=width,
        heads=heads,
        kv_heads=_whole(fields.get("num_key_value_heads") or heads),
        feed_forward=_whole(fields["intermediate_size"]),
        head_width=_whole(fields.get("head_dim") or width // max(1, heads)),
        context=_whole(fields.get("max_position_embeddings", 2048)),
        rope_theta=theta,
        rope_scaling=scaling,
        norm_epsilon=float(fields.get("rms_norm_eps", 1e-6)),
        tied=tied,
    )


def _whole(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value} is no whole number")
    return int(value)


def load_config(folder: Path) -> ModelConfig:
    """The shape of the model in `folder`, or in a file of any name that holds a config.json, without its weights.

    Raises ValueError with one sentence when something is missing, damaged or not a Llama.
    """
    file = folder if folder.is_file() else folder / "config.json"
    return from_json(read_json(file), str(file))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ValueError where there is none."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; give a Hugging Face model folder") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error})") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{path} holds no JSON object")
    return fields
