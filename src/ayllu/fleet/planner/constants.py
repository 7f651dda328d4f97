"""The few constants of the cost model that no data sheet gives, each with what is believed before any run is seen.

A constant is fitted in its logarithm, drawn towards `believed` with the strength of `spread` (a standard deviation in
log units). With no data the model runs on the beliefs; with data they move as far as the data pull them. Effects of a
software family or of a generation of accelerators are factors on the whole step, drawn towards 1; where a family or a
generation was never seen, the factor is 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Constant:
    """One fitted number: its believed value, the spread of the belief in log units, and what it means."""

    believed: float
    spread: float
    meaning: str


CONSTANTS: dict[str, Constant] = {
    "product_16": Constant(
        believed=0.92, spread=0.08, meaning="matrix products in a run over the best measured, 16 and 32 bits"
    ),
    "product_8": Constant(believed=0.85, spread=0.12, meaning="the same at 8 bits"),
    "product_4": Constant(believed=0.70, spread=0.20, meaning="the same at 4 bits"),
    "product_bytes": Constant(
        believed=0.8, spread=0.4, meaning="share of a product's operand traffic that its FLOPs do not hide"
    ),
    "attention_tuned": Constant(
        believed=0.60, spread=0.20, meaning="rate of the vendor's fused attention over the best matrix product"
    ),
    "attention_portable": Constant(
        believed=0.70, spread=0.15, meaning="the same of FlashAttention-2 on Ampere (arXiv:2307.08691: 190 of 271)"
    ),
    "attention_triton": Constant(believed=0.45, spread=0.20, meaning="the same of the first fused kernels on Ampere"),
    "attention_later": Constant(
        believed=0.60, spread=0.15, meaning="factor on those two after Ampere (arXiv:2307.08691: 335 of 794 on an H100)"
    ),
    "score_passes": Constant(
        believed=24.0, spread=0.30, meaning="passes over the T x T scores, unfused: 22 counted, at 0.9 of the bandwidth"
    ),
    "elementwise": Constant(
        believed=1.0, spread=0.4, meaning="traffic of norms, residuals and activations over the fused count"
    ),
    "unfused": Constant(believed=1.6, spread=0.3, meaning="factor on elementwise traffic in eager mode"),
    "cast": Constant(
        believed=1.0, spread=0.4, meaning="traffic of casting and scaling for 8 and 4 bits over one read and write"
    ),
    "layer_overhead": Constant(
        believed=60e-6, spread=0.5, meaning="seconds per block and micro-batch that no unit is busy"
    ),
    "launch": Constant(
        believed=1.5e-3, spread=0.3, meaning="seconds the host takes to launch a block's kernels, both ways, eager"
    ),
    "micro_batch_overhead": Constant(believed=1e-3, spread=0.7, meaning="seconds per micro-batch beyond the blocks"),
    "step_overhead": Constant(
        believed=15e-3, spread=0.7, meaning="seconds per step: data, logging, norm of the gradient"
    ),
    "tp_exposed": Constant(
        believed=0.95, spread=0.1, meaning="share of tensor-parallel traffic that shows where software waits"
    ),
    "tp_overlapped": Constant(believed=0.4, spread=0.4, meaning="the same where software overlaps it"),
    "cp_exposed": Constant(believed=0.4, spread=0.5, meaning="share of context-parallel traffic that nothing hides"),
    "pp_exposed": Constant(believed=0.5, spread=0.5, meaning="share of pipeline traffic that nothing hides"),
    "dp_exposed": Constant(
        believed=0.9, spread=0.2, meaning="share of the gradient exchange that shows where software waits"
    ),
    "dp_overlapped": Constant(
        believed=0.1, spread=0.5, meaning="the same where software overlaps it, of what there is work to hide behind"
    ),
    "link_share": Constant(believed=0.75, spread=0.15, meaning="collective bandwidth over the link's, within a domain"),
    "network_share": Constant(believed=0.70, spread=0.20, meaning="collective bandwidth over the network's"),
    "hop": Constant(believed=15e-6, spread=0.5, meaning="seconds of latency per collective, and per doubling of ranks"),
    "fsdp_contention": Constant(
        believed=0.15, spread=0.5, meaning="time that a hidden FSDP collective still takes from compute"
    ),
    "optimizer_bytes": Constant(
        believed=30.0, spread=0.3, meaning="bytes read and written per parameter and optimizer step"
    ),
    "straggling": Constant(
        believed=0.006, spread=0.6, meaning="time lost to the slowest rank per doubling beyond 8 devices"
    ),
}

EXPERT_CONSTANTS: dict[str, Constant] = {
    "expert_product": Constant(
        believed=0.85, spread=0.2, meaning="rate of the experts' grouped products over that of one product"
    ),
    "expert_exposed": Constant(
        believed=0.7, spread=0.3, meaning="share of the exchange of tokens between experts that nothing hides"
    ),
    "expert_overhead": Constant(
        believed=0.5e-3,
        spread=0.5,
        meaning="seconds per layer of experts and micro-batch to choose experts and launch their kernels, both ways",
    ),
}
"""The same for mixtures of experts, fitted on their runs alone, so that they change no dense prediction."""

NOISE = 0.06
"""Log standard deviation of a run around the model: one configuration under successive NVIDIA releases differs by
1.059."""

EFFECT_SPREAD = {"family": 0.12, "generation": 0.10, "stack": 0.08, "accelerator": 0.08}
"""Log standard deviation of the factors of a software family, of a generation of accelerators at one precision
(throttling differs from the short products that MAMF times), and of a kind of software (Megatron's kernels, PyTorch's
FSDP, XLA) on one generation. NVIDIA's own releases differ by 1.38 at one configuration in one case of ten."""


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Values of `CONSTANTS`, the factors of families and generations, and how far past predictions were off."""

    values: Mapping[str, float | np.ndarray]
    """Numbers, or columns of numbers to evaluate many sets at once."""
    effects: Mapping[str, float] = field(default_factory=dict)
    """Log factors on step time by `family:NAME`, `generation:NAME:PRECISION` and `stack:NAME:GENERATION`."""
    interval_z: tuple[float, float] = (-1.28, 1.28)
    """Ends of the 80 % interval in standard deviations (`planner.uncertainty`), below and above the logarithm of the
    prediction: those of software that was held out."""
    covariance: tuple[tuple[float, ...], ...] | None = None
    """Of the logarithms of `CONSTANTS` and of the factor of the user's software, where own runs were given."""
    own_runs: int = 0
    """Runs of the user's own that moved the values."""
    interval_experts: tuple[float, float] = (0.6, 1.7)
    """The same in 90 of 100 runs of mixtures of experts, each source held out."""
    sources: tuple[str, ...] = ()
    """What the values were fitted on."""

    def __getitem__(self, name: str) -> float | np.ndarray:
        return self.values[name] if name in self.values else EXPERT_CONSTANTS[name].believed


def believed() -> Constants:
    """The constants before any run is seen."""
    return Constants(values={name: constant.believed for name, constant in CONSTANTS.items()})


OWN_SOFTWARE = ("family:own", "stack:own")
"""Factors of the software that plans are made for: `ayllu.train`, or what the user's own runs were made with."""


@cache
def shipped() -> Constants:
    """The constants fitted on the packaged table of published runs (`ayllu fleet validate --refit` writes them)."""
    path = resources.files("ayllu.fleet").joinpath("data", "constants.json")
    if not path.is_file():
        return believed()
    found = json.loads(path.read_text(encoding="utf-8"))
    low, high = found["interval_z"]
    known = CONSTANTS | EXPERT_CONSTANTS
    values = {name: found["values"].get(name, constant.believed) for name, constant in known.items()}
    experts_low, experts_high = found["interval_experts"]
    return Constants(
        values=values,
        effects=found["effects"],
        interval_z=(low, high),
        interval_experts=(experts_low, experts_high),
        sources=tuple(found["sources"]),
    )
