"""Mixtures of experts: their shapes, for planning only. The engine trains dense models and refuses `ep` above 1."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ayllu.fleet.catalogue import read_table
from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class ExpertModel(ModelConfig):
    """A transformer whose feed-forwards, but for the first `dense_layers`, are experts between which tokens are routed.

    `feed_forward` is that of the dense layers.
    """

    experts: int
    active_experts: int
    """Experts that see one token (top-k)."""
    expert_width: int
    """Features inside one expert."""
    shared_width: int = 0
    """Features inside the experts that see every token, together."""
    dense_layers: int = 0
    attention_parameters: int = 0
    """Matrix parameters of one block's attention where it is factored (multi-head latent attention); 0 where it is
    plain."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.active_experts <= self.experts or self.expert_width < 1 or self.shared_width < 0:
            raise ValueError(
                f"model configuration: {self.active_experts} of {self.experts} experts of width {self.expert_width} "
                f"and {self.shared_width} shared; at least one must be active, and widths cannot be negative"
            )
        if not 0 <= self.dense_layers < self.layers:
            raise ValueError(f"model configuration: {self.dense_layers} of {self.layers} layers cannot be dense")

    @property
    def parameters(self) -> int:
        """All parameters, every expert counted."""
        return self._parameters(self.experts)

    @property
    def active_parameters(self) -> int:
        """Parameters that one token passes."""
        return self._parameters(self.active_experts)

    def _parameters(self, experts: int) -> int:
        attention = self.attention_parameters or self._plain_attention
        sparse = self.layers - self.dense_layers
        inside = 3 * (
            self.dense_layers * self.feed_forward + sparse * (self.shared_width + experts * self.expert_width)
        )
        embeddings = self.vocabulary * (1 if self.tied else 2)
        return (
            self.width * (embeddings + inside + sparse * self.experts + 2 * self.layers + 1) + self.layers * attention
        )

    @property
    def _plain_attention(self) -> int:
        return self.width * self.head_width * 2 * (self.heads + self.kv_heads)

    def columns(self) -> dict[str, float]:
        """What `Queries` asks of a model beyond a dense one's shape."""
        return {
            "experts": self.experts,
            "active_experts": self.active_experts,
            "expert_width": self.expert_width,
            "shared_width": self.shared_width,
            "sparse": 1 - self.dense_layers / self.layers,
            "attention_share": (self.attention_parameters or self._plain_attention) / self._plain_attention,
        }


@cache
def expert_models() -> dict[str, ExpertModel]:
    """The published mixtures of experts by name."""
    return {row["name"]: expert_model(row) for row in read_table("experts.csv")}


def expert_model(row: dict[str, str], *, layers: int | None = None) -> ExpertModel:
    """The shape in a row of the table; cut to `layers` of which the first is dense, as in a test bench."""
    counts = {name: int(value) for name, value in row.items() if name not in ("name", "source")}
    if layers is not None and layers < counts["layers"]:
        counts |= {"layers": layers, "dense_layers": min(counts["dense_layers"], 1)}
    return ExpertModel(**counts | {"tied": bool(counts["tied"])})  # type: ignore[arg-type]


EXPERT_TYPES = ("mixtral", "qwen3_moe", "gpt_oss", "deepseek_v2", "deepseek_v3", "kimi_k2")
"""Values of `model_type` in a Hugging Face `config.json` whose shape can be planned."""


def read_expert_config(folder: Path) -> ExpertModel | None:
    """The mixture of experts that a folder's config.json, or a file, describes; None where it describes another model.

    Raises UserError when it is of a known type and its shape cannot be told.
    """
    path = folder if folder.is_file() else folder / "config.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(fields, dict) or fields.get("model_type") not in EXPERT_TYPES:
        return None
    try:
        return _from_config(fields)
    except KeyError as missing:
        raise UserError(f"{path} lacks {missing.args[0]!r}; its shape cannot be planned") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be planned: {error}") from None


def _from_config(fields: dict[str, Any]) -> ExpertModel:
    if (
        fields.get("decoder_sparse_step", 1) != 1
        or fields.get("mlp_only_layers")
        or fields.get("moe_layer_freq", 1) != 1
    ):
        raise ValueError("its layers with experts are not simply all but the first")
    width, heads = fields["hidden_size"], fields["num_attention_heads"]
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    experts = next((fields[name] for name in names if name in fields), None)
    if experts is None:
        raise KeyError(names[0])
    expert_width = fields.get("moe_intermediate_size") or fields["intermediate_size"]
    shape = {
        "vocabulary": fields["vocab_size"],
        "layers": fields["num_hidden_layers"],
        "width": width,
        "heads": heads,
        "kv_heads": fields.get("num_key_value_heads") or heads,
        "head_width": fields.get("head_dim") or width // heads,
        "feed_forward": fields["intermediate_size"],
        "context": fields.get("max_position_embeddings", 8192),
        "tied": bool(fields.get("tie_word_embeddings", False)),
        "experts": experts,
        "active_experts": fields["num_experts_per_tok"],
        "expert_width": expert_width,
        "shared_width": (fields.get("n_shared_experts") or 0) * expert_width,
        "dense_layers": fields.get("first_k_dense_replace", 0),
    }
    return ExpertModel(**shape | (_latent_attention(fields) if fields.get("kv_lora_rank") else {}))


def _latent_attention(fields: dict[str, Any]) -> dict[str, int]:
    """Heads and matrices of multi-head latent attention (arXiv:2405.04434, section 2.1)."""
    width, heads, latent = fields["hidden_size"], fields["num_attention_heads"], fields["kv_lora_rank"]
    plain, rotary, value = fields["qk_nope_head_dim"], fields["qk_rope_head_dim"], fields["v_head_dim"]
    query = heads * (plain + rotary)
    queries = (
        width * fields["q_lora_rank"] + fields["q_lora_rank"] * query if fields.get("q_lora_rank") else width * query
    )
    keys = width * (latent + rotary) + latent * heads * (plain + value)
    # Scores are made from heads of plain + rotary, and values have another width: the mean of both counts the same.
    return {
        "kv_heads": heads,
        "head_width": (plain + rotary + value) // 2,
        "attention_parameters": queries + keys + heads * value * width,
    }
