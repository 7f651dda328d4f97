"""What the cost and memory models are asked: one table of (model, layout, machine) columns, a row per query.

Every column is a numpy array of one length, or a scalar that broadcasts, so a whole search is a few dozen array
operations. Letters as everywhere: T time, D width, H query heads, K key/value heads, h head width, F feed-forward,
V vocabulary, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ayllu.fleet.catalogue import DEFAULT_LINK_GB_S, DEFAULT_NETWORK_GB_S, PRECISIONS, Accelerator, Pool, Precision
from ayllu.fleet.experts import ExpertModel
from ayllu.model.config import ModelConfig

Column = NDArray[Any]

RECOMPUTE = {"none": 0.0, "selective": 1.0, "full": 2.0}
ATTENTION = {"scores": 0.0, "triton": 1.0, "portable": 2.0, "tuned": 3.0}
"""How attention runs: the T by T scores pass through memory, or it is fused: in the first kernels (FlashAttention,
Triton with a bias), in FlashAttention-2, or in one made for the generation (cuDNN, FlashAttention-3)."""
KERNELS = {"naive": 0.0, "eager": 1.0, "fused": 2.0}
"""How elementwise work runs: a kernel per operation with biases and dropout, a kernel per operation without them, or
fused by a compiler or by hand."""
LOSS = {"chunked": 0.0, "fused": 1.0, "sharded": 2.0, "plain": 3.0}
"""How much of the logits the loss holds: never all at once (`ayllu.train.objectives.next_token`), one copy and its
gradient in 16 bits (flash-attention's fused cross-entropy), a float32 copy that it works on in place (Megatron's
vocabulary-parallel one), or PyTorch's: 16-bit logits, float32 log-probabilities and their float32 gradient."""
LATER_GENERATIONS = ("hopper", "blackwell", "rubin")
SHARDING = {"replicated": 0.0, "optimizer": 1.0, "full": 3.0}
"""How the data-parallel ranks share state, by ZeRO's stages: nothing, the optimizer (Megatron), everything (FSDP)."""

SPLIT = {"layers": 0.0, "cost": 1.0}
"""What pipeline stages have alike: their layers, or their matrices, the head's among them."""

DENSE = {
    "experts": 0.0,
    "active_experts": 0.0,
    "expert_width": 0.0,
    "shared_width": 0.0,
    "sparse": 0.0,
    "attention_share": 1.0,
    "ep": 1.0,
    "adapter_rank": 0.0,
    "split": SPLIT["layers"],
}
"""Columns of a model without experts all of whose weights are trained, its stages of equal layers, which need not be
given."""


@dataclass(frozen=True, kw_only=True)
class Queries:
    """Questions to the models. Rates in FLOP/s, bandwidths in bytes/s, sizes in bytes, lengths in tokens."""

    layers: Column
    width: Column
    heads: Column
    kv_heads: Column
    head_width: Column
    feed_forward: Column
    gates: Column
    """Matrices that lead into the feed-forward: 2 with a gate (SwiGLU), 1 without."""
    vocabulary: Column
    tied: Column
    sequence: Column

    experts: Column
    """Experts of a layer between which tokens are routed; 0 in a dense model."""
    active_experts: Column
    """Experts that see one token."""
    expert_width: Column
    """Features inside one expert."""
    shared_width: Column
    """Features inside the experts that see every token, together."""
    sparse: Column
    """Share of the layers that have experts in place of the feed-forward; 0 in a dense model."""
    attention_share: Column
    """Attention's matrices over those of plain attention with these heads: below 1 where they are factored."""

    adapter_rank: Column
    """Rank of the adapters (LoRA) that are trained beside every matrix of a block, all else frozen; 0 where all weights
    are trained."""

    ep: Column
    """Expert parallel: ranks, out of those that share or copy a stage, between which the experts are divided."""
    tp: Column
    cp: Column
    pp: Column
    virtual: Column
    dp_shard: Column
    dp_replicate: Column
    micro_batch: Column
    global_batch: Column
    """Sequences per optimizer step."""
    recompute: Column
    """By `RECOMPUTE`."""
    sharding: Column
    """By `SHARDING`."""
    precision: Column
    """Index into `PRECISIONS`."""
    attention: Column
    """By `ATTENTION`."""
    kernels: Column
    """By `KERNELS`."""
    overlap: Column
    """1 where the software sends gradients and tensor-parallel chunks while it computes, 0 where it waits."""

    loss: Column
    """By `LOSS`."""
    split: Column
    """By `SPLIT`."""
    sequence_parallel: Column
    """1 where tensor-parallel ranks also share the residual stream along the sequence."""

    narrow_rate: Column
    """Achievable rate of the blocks' matrix products."""
    later: Column
    """1 on generations after Ampere, whose units portable kernels keep half busy."""
    wide_rate: Column
    """Achievable rate of what stays at 16 bits (or float32 in a float32 run): attention and the output projection."""
    memory_bandwidth: Column
    memory: Column
    link: Column
    link_domain: Column
    network: Column
    pod_size: Column
    oversubscription: Column

    @property
    def devices(self) -> Column:
        return self.tp * self.cp * self.pp * self.dp

    @property
    def dp(self) -> Column:
        """Replicas that see different sequences."""
        return self.dp_shard * self.dp_replicate

    @property
    def element(self) -> Column:
        """Bytes of one activation: 4 in a float32 run, else 2."""
        return np.where(self.precision == PRECISIONS.index("float32"), 4.0, 2.0)

    @property
    def micro_batches(self) -> Column:
        """Micro-batches that one replica accumulates in a step; below 1 when the layout is too wide for the batch."""
        return self.global_batch / (self.dp * self.micro_batch)

    @property
    def block_matrices(self) -> Column:
        """Matrix parameters of one block."""
        attention = self.width * self.head_width * 2 * (self.heads + self.kv_heads) * self.attention_share
        return attention + (self.gates + 1) * self.width * self.always_width + self.sparse * self.width * self.experts

    @property
    def always_width(self) -> Column:
        """Features inside the feed-forward that every token passes, in the mean of the layers."""
        return (1 - self.sparse) * self.feed_forward + self.sparse * self.shared_width

    @property
    def expert_matrices(self) -> Column:
        """Matrix parameters of the routed experts of one block, in the mean of the layers."""
        return self.sparse * self.experts * self._one_expert

    @property
    def _one_expert(self) -> Column:
        return (self.gates + 1) * self.width * self.expert_width

    @property
    def expert_parameters(self) -> Column:
        return self.layers * self.expert_matrices

    @property
    def expert_copies(self) -> Column:
        """Ranks that hold the same experts."""
        return np.maximum(self.tp * self.cp * self.dp / self.ep, 1.0)

    @property
    def expert_shards(self) -> Column:
        """Those of them that share the experts' states where states are sharded."""
        return np.maximum(self.tp * self.cp * self.dp_shard / self.ep, 1.0)

    @property
    def routed(self) -> Column:
        """Tokens that the experts of one rank see in one micro-batch, when the routing is even."""
        return self.micro_batch * self.sequence / self.cp / self.tp * self.active_experts

    @property
    def parameters(self) -> Column:
        return self.common_parameters + self.expert_parameters

    @property
    def common_parameters(self) -> Column:
        """All but the routed experts."""
        embeddings = self.vocabulary * self.width * (2 - self.tied)
        return embeddings + self.layers * (self.block_matrices + 2 * self.width) + self.width

    @property
    def frozen(self) -> Column:
        """Whether only adapters are trained."""
        return self.adapter_rank > 0

    @property
    def adapted_width(self) -> Column:
        """Features into and out of all matrices of one block, together."""
        attention = 4 * self.width + 2 * (self.heads + self.kv_heads) * self.head_width
        return attention + (self.gates + 1) * (self.width + self.feed_forward)

    @property
    def block_adapters(self) -> Column:
        """Parameters of one block's adapters (arXiv:2106.09685, section 4.1)."""
        return self.adapter_rank * self.adapted_width

    @property
    def trained_parameters(self) -> Column:
        """Parameters but the routed experts' that have a gradient."""
        return np.where(self.frozen, self.layers * self.block_adapters, self.common_parameters)

    @property
    def passes(self) -> Column:
        """Products of a matrix with the tokens in a step: forward, for the gradient of its input and, where it is
        trained, for its own."""
        return np.where(self.frozen, 2.0, 3.0)

    @property
    def model_flops(self) -> Column:
        """FLOPs of one step as `ayllu.train.flops` counts them: 6 per matrix parameter that a token passes (4 where it
        is frozen), and 12 H h T per block and token.

        That is PaLM's convention (arXiv:2204.02311, appendix B): the whole square of attention, though half is behind
        the mask."""
        return self.global_batch * self.sequence * (2 * self.passes * self._matrices + 2 * self._masked)

    @property
    def needed_flops(self) -> Column:
        """FLOPs of one step without the half of attention behind the causal mask: what no kernel can leave out."""
        return self.global_batch * self.sequence * (2 * self.passes * self._matrices + self._masked)

    @property
    def _matrices(self) -> Column:
        seen = self.block_matrices + self.sparse * self.active_experts * self._one_expert
        return self.layers * seen + self.vocabulary * self.width

    @property
    def _masked(self) -> Column:
        return 6 * self.layers * self.heads * self.head_width * self.sequence

    def take(self, rows: Column) -> Queries:
        """The rows that an index or a mask selects."""
        return Queries(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def stack(questions: list[dict[str, float]]) -> Queries:
    """Queries from one dictionary of columns per row."""
    rows = [DENSE | row for row in questions]
    return Queries(
        **{field.name: np.array([row[field.name] for row in rows], dtype=float) for field in fields(Queries)}
    )


def queries(**columns: ArrayLike) -> Queries:
    """Queries from columns and scalars, broadcast to one length."""
    columns = DENSE | columns
    arrays = np.broadcast_arrays(*(np.atleast_1d(np.asarray(column, dtype=float)) for column in columns.values()))
    return Queries(**dict(zip(columns, arrays, strict=True)))


def model_columns(model: ModelConfig, sequence: int) -> dict[str, float]:
    """The model's columns; `sequence` is the training length, at most `model.context`."""
    columns: dict[str, float] = {
        "layers": model.layers,
        "width": model.width,
        "heads": model.heads,
        "kv_heads": model.kv_heads,
        "head_width": model.head_width,
        "feed_forward": model.feed_forward,
        "gates": 2,
        "vocabulary": model.vocabulary,
        "tied": model.tied,
        "sequence": sequence,
    }
    return columns | model.columns() if isinstance(model, ExpertModel) else columns


def rate_columns(accelerator: Accelerator, precision: Precision) -> dict[str, float]:
    """Rates of one accelerator at one precision; parts without a published link or memory bandwidth get defaults."""
    wide: Precision = "float32" if precision == "float32" else "bf16"
    return {
        "precision": PRECISIONS.index(precision),
        "later": accelerator.generation in LATER_GENERATIONS,
        "narrow_rate": accelerator.achieved(precision) * 1e12,
        "wide_rate": accelerator.achieved(wide) * 1e12,
        "memory_bandwidth": (accelerator.memory_tb_s or 0.5) * 1e12,
        "memory": (accelerator.memory_gb or 0.0)
        * 2**30,  # vendors' GB of memory are GiB: an "80 GB" part shows 79.6 GiB
        "link": (accelerator.link_gb_s or DEFAULT_LINK_GB_S) * 1e9,
        "link_domain": max(accelerator.link_domain, accelerator.node_size if accelerator.link_domain == 1 else 1),
        "network": (accelerator.network_gb_s or DEFAULT_NETWORK_GB_S) * 1e9,
    }


def pool_columns(pool: Pool, precision: Precision) -> dict[str, float]:
    """Rates of a pool's accelerator with the pool's own network."""
    return rate_columns(pool.accelerator, precision) | {
        "network": pool.network_gb_s * 1e9,
        "pod_size": pool.pod_size,
        "oversubscription": pool.oversubscription,
    }
