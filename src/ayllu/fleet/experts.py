"""Mixtures of experts: their shapes, for planning only. The engine trains dense models and refuses `ep` above 1."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ayllu.fleet.catalogue import read_table
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
        """What `Cases` asks of a model beyond a dense one's shape."""
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
