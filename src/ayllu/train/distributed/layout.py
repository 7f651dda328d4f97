"""How a model is spread over devices."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig

DEGREES = ("tp", "cp", "pp", "virtual", "ep", "dp_shard", "dp_replicate", "micro_batch")


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
    """Type of the matmuls; the master weights stay float32."""

    def __post_init__(self) -> None:
        for name in DEGREES:
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


def parse_layout(text: str) -> Layout:
    """The layout that `text` names, such as `tp=2,dp_shard=4,recompute=full`; UserError for what it cannot be."""
    words: dict[str, str] = {}
    known = {field.name for field in fields(Layout)}
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in known or not value:
            raise UserError(
                f"layout {text!r}: {part.strip()!r} is not NAME=VALUE with one of {', '.join(sorted(known))}"
            )
        words[name] = value
    for name, allowed in (("recompute", ("none", "selective", "full")), ("precision", ("float32", "bf16", "float8"))):
        if words.get(name, allowed[0]) not in allowed:
            raise UserError(f"layout {text!r}: {name} is {words[name]!r}; choose one of {', '.join(allowed)}")
    try:
        return Layout(**{n: int(v) if n in DEGREES else v for n, v in words.items()})  # type: ignore[arg-type]
    except ValueError as error:
        reason = str(error) if "layout:" in str(error) else "its degrees must be whole numbers"
        raise UserError(f"layout {text!r}: {reason.removeprefix('layout: ')}") from None


def check_layout(layout: Layout, config: ModelConfig) -> None:
    """Raise UserError where `layout` cannot spread a model of this shape."""
    if layout.ep > 1:
        raise UserError("the layout has ep above 1, and the model has no experts; leave it out")
    if layout.precision == "float8" and layout.tp > 1:
        raise UserError("float8 matmuls of matrices that tensor parallelism cuts are not there yet; use tp=1 or bf16")
    if layout.virtual > 1 and layout.pp == 1:
        raise UserError("the layout has virtual stages and no pipeline; set pp above 1 or leave virtual out")
    stages = layout.pp * layout.virtual
    if stages > config.layers and (config.layers + 2) % stages:
        raise UserError(f"the layout cuts {config.layers} layers into {stages} parts; lower pp or virtual")
    for name in ("heads", "kv_heads", "feed_forward", "vocabulary"):
        value = getattr(config, name)
        if value % layout.tp:
            raise UserError(f"{name} ({value}) cannot be shared by tp={layout.tp} devices; choose a divisor")
