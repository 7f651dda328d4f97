"""How a model is spread over devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Degrees of parallelism; their product is the number of devices. A degree below 1 raises ValueError."""

    tp: int = 1
    """Tensor parallel: devices that share each matrix (with sequence parallel between them)."""
    cp: int = 1
    """Context parallel: devices that share each sequence."""
    pp: int = 1
    """Pipeline parallel: stages that share the layers."""
    virtual: int = 1
    """Chunks of layers per pipeline stage (interleaved 1F1B when above 1)."""
    ep: int = 1
    """Expert parallel, inside the data-parallel degrees."""
    dp_shard: int = 1
    """Data parallel with parameters, gradients and optimizer state sharded (FSDP)."""
    dp_replicate: int = 1
    """Data parallel replicas (HSDP when dp_shard is above 1)."""
    micro_batch: int = 1
    """Sequences that one forward pass of one replica takes."""
    recompute: Literal["none", "selective", "full"] = "none"
    """Activations computed again in the backward pass."""
    precision: Literal["float32", "bf16", "float8"] = "bf16"
    """Type of the matrix products; the master weights stay float32."""

    def __post_init__(self) -> None:
        for name in ("tp", "cp", "pp", "virtual", "ep", "dp_shard", "dp_replicate", "micro_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"layout: {name} is {getattr(self, name)}; it must be at least 1")

    @property
    def devices(self) -> int:
        """Devices that the layout needs."""
        return self.tp * self.cp * self.pp * self.dp_shard * self.dp_replicate

    @property
    def data_parallel(self) -> int:
        """Replicas that see different sequences."""
        return self.dp_shard * self.dp_replicate
