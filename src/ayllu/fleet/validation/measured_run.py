"""One published training run, read from a row of a table into the question that the cost model answers.

The table is what people published, so columns are missing and conventions differ. Every rule that fills a gap is here:
the software's habits come from `data/software.csv`, public shapes from `data/models.csv`, and a time that is given only
as FLOP/s is turned back by the convention that the row states.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ayllu.fleet.catalogue import PRECISIONS, Accelerator, Precision, match_accelerator, read_table
from ayllu.fleet.part_names import read_name
from ayllu.fleet.planner.queries import (
    ATTENTION,
    KERNELS,
    LOSS,
    RECOMPUTE,
    SHARDING,
    SPLIT,
    rate_columns,
    stack,
)
from ayllu.fleet.validation.cells import Unusable, cell
from ayllu.fleet.validation.inferred import recomputation
from ayllu.fleet.validation.shapes import dense_shape, expert_shape, known_mixture, told_length
from ayllu.lab.error import UserError

OTHER_MODELS = re.compile(
    r"deepseek|mixtral|moe\b|gpt.?oss|kimi|_?a\d+b\b|nemotron.?[3h]|grok|dbrx|jamba|mamba|llama-?4|glm-4\.5|switch|bert|t5|sd3|flux|vit",
    re.I,
)
"""Names of models that are no dense decoder: experts, state spaces, encoders, pictures. Those with experts whose shape
is in `data/experts.csv` are scored, apart from the dense ones."""


LARGEST_NETWORK = 1e5
"""Gb/s per accelerator."""


@dataclass(frozen=True, kw_only=True)
class MeasuredRun:
    """One published run as the model sees it."""

    source: str
    label: str
    family: str
    stack: str
    generation: str
    columns: Mapping[str, float]
    """One row of `Queries`."""
    seconds: float
    """Measured time of a step."""
    measured_memory: float | None
    """Measured peak, bytes per accelerator."""
    recompute_given: bool
    """Whether the row says what it recomputes: without that a peak of memory is nobody's error."""
    kinds: tuple[str, ...]
    """Accelerators that the job spans."""
    inferred: tuple[str, ...] = ()
    """What the row does not say and its other figures tell."""

    @property
    def precision(self) -> int:
        return int(self.columns["precision"])

    @property
    def has_experts(self) -> bool:
        return self.columns.get("experts", 0) > 0

    @property
    def question(self) -> tuple:
        """What a planner is given: all but the layout."""
        columns = self.columns
        shape = tuple(
            columns[name] for name in ("layers", "width", "feed_forward", "vocabulary", "sequence", "global_batch")
        )
        devices = columns["tp"] * columns["cp"] * columns["pp"] * columns["dp_shard"] * columns["dp_replicate"]
        return (self.source, self.kinds, self.precision, devices, *shape)

    @property
    def layout(self) -> tuple:
        """What a planner chooses."""
        names = ("tp", "cp", "pp", "virtual", "dp_shard", "dp_replicate", "micro_batch", "recompute", "sharding")
        return (*(self.columns[name] for name in names), self.columns.get("ep", 1.0))


def read_measured_run(row: Mapping[str, str]) -> MeasuredRun:
    """One row as a run. Raises Unusable with the reason when it cannot be scored."""
    other = OTHER_MODELS.search(row["model"]) or (cell(row, "ep") or 1) > 1
    mixture = known_mixture(row["model"]) if other else None
    if other and mixture is None:
        raise Unusable("not a dense decoder")
    software = _software(row)
    kinds = _kinds(row["gpu_type"])
    model = dense_shape(row, software) if mixture is None else expert_shape(row, software, mixture)
    layout = _layout(row, software, model["layers"])
    if "experts" in model:
        layout |= _expert_layout(row, layout, model["experts"])
    precision = _precision(row, software)
    try:
        peak = min(kind.peak(precision) for kind in kinds)
    except UserError as error:
        raise Unusable("accelerator without a rate at that precision") from error
    rates = [rate_columns(kind, precision) for kind in kinds]
    # A synchronous step over several kinds waits for the slowest of them in each respect.
    slowest = {name: min(rate[name] for rate in rates) for name in rates[0]}
    slowest["network"] = _network(row, kinds[0]) or slowest["network"]
    notes = row.get("notes", "")
    columns = {
        **model,
        **layout,
        **slowest,
        "pod_size": 3072 if "oversubscription" in row.get("interconnect", "") else 1e9,
        "oversubscription": 7 if "oversubscription" in row.get("interconnect", "") else 1,
        "attention": ATTENTION[_attention(row, software)],
        "loss": LOSS[software["loss"]],
        "split": SPLIT[software["split"] or "layers"],
        "sequence_parallel": float(software["sequence_parallel"] == "yes" or "SP" in row.get("recompute", "")),
        "overlap": float(software["overlap"] == "yes" or bool(re.search(r"async ?TP", notes, re.I))),
        "adapter_rank": _adapter_rank(row, model),
        "kernels": KERNELS["eager" if re.search(r"\beager\b", notes) else software["kernels"]],
    }
    seconds = _checked(_seconds(row, columns, kinds[0]), columns, peak)
    stated = bool(row.get("recompute") or software["recompute"])
    inferred = ["sequence length"] if told_length(row) else []
    if not stated and (found := recomputation(columns, _counted_flops(row, seconds))):
        columns["recompute"] = found[0]
        inferred.append(found[1])
    return MeasuredRun(
        source=row.get("source") or "a source that is not named",
        label=f"{row['model']} on {row['gpus']} {row['gpu_type']}",
        family=software["family"],
        stack=software["stack"],
        generation=min(kinds, key=lambda kind: kind.achieved("bf16")).generation,
        columns=columns,
        seconds=seconds,
        measured_memory=_memory(notes),
        recompute_given=stated,
        kinds=tuple(kind.id for kind in kinds),
        inferred=tuple(inferred),
    )


ADAPTERS = re.compile(r"\blora\b", re.I)
QUANTISED = re.compile(r"\bq-?lora\b", re.I)
USUAL_RANK = 16
"""Of adapters whose row does not say it; the thin products hardly tell one rank from another."""


def _adapter_rank(row: Mapping[str, str], model: Mapping[str, float]) -> float:
    """Rank of the adapters where the row trains such beside frozen weights; 0 where it trains all."""
    text = " ".join(row.get(name, "") for name in ("model", "where", "notes", "method"))
    if QUANTISED.search(text):
        raise Unusable("frozen weights in 4 bits (QLoRA)")
    rank = cell(row, "adapter_rank") or (float(USUAL_RANK) if ADAPTERS.search(text) else 0.0)
    if rank and "experts" in model:
        raise Unusable("adapters beside a mixture of experts")
    return rank


@cache
def _habits() -> list[dict[str, str]]:
    return read_table("software.csv")


def _software(row: Mapping[str, str]) -> dict[str, str]:
    """Habits of the software that ran it, by what the row says of its source; unknown software gets today's habits."""
    for text in (row.get("source", ""), row.get("where", ""), row["model"]):
        for habit in _habits()[:-1]:
            if re.search(habit["pattern"], text):
                return habit
    return _habits()[-1] | ({"sharding": "full"} if row.get("fsdp") else {})


def _kinds(text: str) -> tuple[Accelerator, ...]:
    """The accelerators that a `gpu_type` names; `A+B` names two."""
    return tuple(sorted((_kind(part) for part in text.split("+")), key=lambda kind: kind.id))


@cache
def _kind(text: str) -> Accelerator:
    if read_name(text).is_slice:
        raise Unusable("a slice of an accelerator")
    found = match_accelerator(text, within=True)
    if found is None:
        raise Unusable("accelerator not in the catalogue")
    return found


def _counted_flops(row: Mapping[str, str], seconds: float) -> float | None:
    """FLOPs of a step by the row's own rate, where its time is told beside it; None where it is not, or where the rate
    is said to count what is recomputed or less than all of attention."""
    rate, timed = cell(row, "tflops_per_gpu"), row.get("step_time_s") or row.get("tokens_per_s")
    if rate is None or not timed or re.search(r"counts recompute|causal", row.get("notes", "")):
        return None
    return rate * 1e12 * float(row["gpus"]) * seconds


def _expert_layout(row: Mapping[str, str], layout: Mapping[str, float], experts: float) -> dict[str, float]:
    """Expert parallelism, and no chunks of the pipeline but those that the row names."""
    ep = cell(row, "ep") or 1.0
    if experts % ep or (layout["tp"] * layout["cp"] * layout["dp_shard"]) % ep:
        raise Unusable("degrees do not multiply to the device count")
    return {"ep": ep, "virtual": cell(row, "vpp") or 1.0}


def _layout(row: Mapping[str, str], software: Mapping[str, str], layers: float) -> dict[str, float]:
    """Degrees of parallelism, batch and recomputation. A row with FSDP and no degrees is data parallel only."""
    devices = cell(row, "gpus")
    if devices is None:
        raise Unusable("no device count")
    degrees = {name: cell(row, name) for name in ("tp", "cp", "pp", "dp")}
    if degrees["tp"] is None and degrees["pp"] is None and not row.get("fsdp"):
        raise Unusable("no layout")
    tp, cp, pp = (degrees[name] or 1.0 for name in ("tp", "cp", "pp"))
    dp = degrees["dp"] or devices / (tp * cp * pp)
    if tp * cp * pp * dp == 2 * devices and tp % 2 == 0:
        tp /= 2  # Trainium and MI250X rows count cores, two to a device.
    if tp * cp * pp * dp != devices:
        raise Unusable("degrees do not multiply to the device count")
    notes = row.get("notes", "")
    local = re.search(r"local batch ([1-9]\d{0,8})\b", notes)
    batch = cell(row, "global_batch_seqs") or (dp * float(local[1]) if local else None)
    if batch is None and (tokens := cell(row, "global_batch_tokens")) and (length := cell(row, "seq_len")):
        batch = tokens / length
    if batch is None:
        raise Unusable("no global batch")
    micro = cell(row, "micro_batch") or (float(local[1]) if local and pp == 1 else None)
    per_replica = batch / dp
    if micro is None:
        micro = 1.0 if pp > 1 or tp > 1 or per_replica > 16 else per_replica
    virtual = cell(row, "vpp") or (2.0 if re.search(r"interleaved", notes, re.I) else 1.0)
    if pp > 1 and not row.get("vpp") and software["schedule"] == "interleaved":
        # Software that interleaves, tuned by its authors: a layer to a chunk, embedding and head counted where they
        # even it out.
        virtual = max(1.0, (layers if layers % pp == 0 else layers + 2) // pp)
    sharding = software["sharding"]
    if re.match(r"FSDP|FULL|ZeRO-3", row.get("fsdp", "")):
        sharding = "full"
    text = row.get("recompute", "") or software["recompute"] or "none"
    recompute = (
        "full" if re.match(r"full|yes", text) else "selective" if re.search(r"^selective|^per-op", text) else "none"
    )
    return {
        "tp": tp,
        "cp": cp,
        "pp": pp,
        "virtual": virtual,
        "dp_shard": dp,
        "dp_replicate": 1.0,
        "micro_batch": max(1.0, min(micro, per_replica)),
        "global_batch": batch,
        "recompute": RECOMPUTE[recompute],
        "sharding": SHARDING[sharding],
    }


def _precision(row: Mapping[str, str], software: Mapping[str, str]) -> Precision:
    text = row.get("dtype", "").lower()
    if "fp4" in text:
        return "float4"
    if "fp8" in text or "float8" in text:
        # PyTorch's row-wise scaling is no faster than bf16 (nanochat's log: 564k tokens/s, against 740k tensor-wise
        # and 630k bf16).
        return "bf16" if "row" in text else "float8"
    if text in ("fp32", "tf32", "float32") or (not text and software["precision"] == "float32"):
        return "float32"
    return "bf16"


def _attention(row: Mapping[str, str], software: Mapping[str, str]) -> str:
    """By the software's habit; float16 without a known habit means a run from before fused attention."""
    if not software["family"] and row.get("dtype", "").lower() == "fp16":
        return "scores"
    return software["attention"]


def _network(row: Mapping[str, str], kind: Accelerator) -> float | None:
    """Network per accelerator, bytes/s, where the row states it per node or per accelerator in Gb/s."""
    text = row.get("interconnect", "")
    per_device = re.search(r"(\d+)\s*G(?:b/s|bps)[^,;]*per GPU", text)
    per_node = re.search(r"(\d+)\s*G(?:b/s|bps)\s*(?:node-node|RoCE|inter-node)|inter-node (\d+) Gb/s", text)
    several = re.search(r"(\d+)x(\d+)\s*Gb/s", text)
    gigabits = 0.0
    if per_device:
        gigabits = float(per_device[1])
    elif several:
        gigabits = float(several[1]) * float(several[2]) / max(kind.node_size, 1)
    elif per_node:
        gigabits = float(per_node[1] or per_node[2]) / max(kind.node_size, 1)
    return gigabits / 8 * 1e9 if 0 < gigabits < LARGEST_NETWORK else None


def _checked(seconds: float, columns: Mapping[str, float], peak: float) -> float:
    """`seconds`, unless no machine of that peak (TFLOP/s per device) can be so fast: a mistaken unit."""
    query = stack([dict(columns)])
    if float((query.needed_flops / query.devices)[0]) > 1.05 * peak * 1e12 * seconds:
        raise Unusable("faster than the peak of its accelerators: a unit is mistaken")
    return seconds


def _seconds(row: Mapping[str, str], columns: Mapping[str, float], kind: Accelerator) -> float:
    """Measured time of a step: as printed, else from tokens/s, else from FLOP/s or MFU by the convention that the row
    states."""
    tokens = columns["global_batch"] * columns["sequence"]
    if (step := cell(row, "step_time_s")) is not None:
        return step
    if (rate := cell(row, "tokens_per_s")) is not None:
        return tokens / rate
    rate = cell(row, "tflops_per_gpu")
    if rate is None and (share := cell(row, "mfu_pct")) and columns["precision"] == PRECISIONS.index("bf16"):
        rate = share / 100 * kind.peak("bf16")
    if rate is None:
        raise Unusable("no time")
    query = stack([dict(columns)])
    # Published FLOP/s count full attention; those of 2021 also count what full recomputation repeats
    # (arXiv:2104.04473, eq. 3).
    repeated = 4 / 3 if "counts recompute" in row.get("notes", "") else 1.0
    return float(query.model_flops[0]) * repeated / (rate * 1e12 * float(row["gpus"]))


def _memory(notes: str) -> float | None:
    gib = re.search(r"peak (?:memory|alloc|mem)[^=0-9]*=?\s*(\d{1,9}(?:\.\d+)?)|GiB=(\d{1,9}(?:\.\d+)?)", notes)
    found = float(gib[1] or gib[2]) * 2**30 if gib else None
    raw = re.search(r"max_mem=(\d{1,18})\b", notes)
    return found or (float(raw[1]) if raw else None) or None
