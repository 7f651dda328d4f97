"""An exported ONNX file as ONNX Runtime computes it, and what its GenAI package wants to know beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ayllu.data.origin import read_json_object
from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig
from ayllu.model.files.onnx import FILE
from ayllu.release.exports.texts import MEASURED

GENAI = "genai_config.json"


class OnnxModel:
    """The file in `folder`; UserError where ONNX Runtime is missing or refuses it."""

    def __init__(self, folder: Path, config: ModelConfig) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise UserError("measuring an ONNX file needs onnxruntime: pip install 'ayllu[onnx]'") from None
        self._session = onnxruntime.InferenceSession(folder / FILE, providers=["CPUExecutionProvider"])
        self._config, self.longest, self.measured = config, config.context, MEASURED

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """(T, V) after each of `ids`."""
        config = self._config
        feed: dict[str, np.ndarray] = {
            "input_ids": np.array([ids], np.int64),
            "attention_mask": np.ones((1, len(ids)), np.int64),
        }
        empty = np.zeros((1, config.kv_heads, 0, config.head_width), np.float32)
        feed |= {f"past_key_values.{i}.{part}": empty for i in range(config.layers) for part in ("key", "value")}
        return np.asarray(self._session.run(["logits"], feed)[0])[0]


def write_genai_config(place: Path, folder: Path, config: ModelConfig, bos: int | None, stops: Sequence[int]) -> None:
    """Write `genai_config.json` for the model of `folder`: shapes, names of inputs and outputs, stops, sampling."""
    recommended = read_json_object(folder / "generation_config.json")
    names = ("temperature", "top_p", "top_k", "repetition_penalty")
    drawn: dict[str, Any] = {name: recommended[name] for name in names if name in recommended}
    parts = {f"{part}_names": "{}.%d." + part for part in ("key", "value")}
    decoder: dict[str, Any] = {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": FILE,
        "head_size": config.head_width,
        "hidden_size": config.width,
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "num_key_value_heads": config.kv_heads,
        "inputs": {"input_ids": "input_ids", "attention_mask": "attention_mask"}
        | {f"past_{name}": form.format("past_key_values") for name, form in parts.items()},
        "outputs": {"logits": "logits"} | {f"present_{name}": form.format("present") for name, form in parts.items()},
    }
    model = {
        "type": "llama",
        "context_length": config.context,
        "vocab_size": config.vocabulary,
        "bos_token_id": bos,
        "eos_token_id": list(stops),
        "pad_token_id": stops[0] if stops else None,
        "decoder": decoder,
    }
    search: dict[str, Any] = {
        "max_length": config.context,
        "do_sample": bool(recommended.get("do_sample", False)),
        **drawn,
    }
    search["past_present_share_buffer"] = False
    (place / GENAI).write_text(json.dumps({"model": model, "search": search}, indent=2) + "\n", encoding="utf-8")
