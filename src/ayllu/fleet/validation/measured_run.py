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
from ayllu.fleet.experts import expert_model
from ayllu.fleet.part_names import read_name
from ayllu.fleet.planner.queries import (
    ATTENTION,
    KERNELS,
    LOSS,
    RECOMPUTE,
    SHARDING,
    model_columns,
    rate_columns,
    stack,
)
from ayllu.fleet.validation.columns import MISSING, number
from ayllu.lab.error import UserError

OTHER_MODELS = re.compile(
    r"deepseek|mixtral|moe\b|gpt.?oss|kimi|_?a\d+b\b|nemotron.?[3h]|grok|dbrx|jamba|mamba|llama-?4|glm-4\.5|switch|bert|t5|sd3|flux|vit",
    re.I,
)
"""Names of models that are no dense decoder: experts, state spaces, encoders, pictures. Those with experts whose shape
is in `data/experts.csv` are scored, apart from the dense ones."""


COUNTS = frozenset(
    (
        *("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab", "seq_len", "adapter_rank"),
        *("gpus", "tp", "pp", "cp", "dp", "ep", "vpp"),
    )
)
"""Columns of whole numbers."""
LARGEST = 1e15
"""No count, rate or time of a run is larger in the units of these tables."""
LARGEST_HEADS = 8
"""Features of all heads together, over the width; published models have up to 2 (Qwen3-0.6B)."""
LARGEST_NETWORK = 1e5
"""Gb/s per accelerator."""


class Unusable(ValueError):
    """A row that cannot be scored, with the reason."""


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
    other = OTHER_MODELS.search(row["model"]) or (_number(row, "ep") or 1) > 1
    mixture = _known_mixture(row["model"]) if other else None
    if other and mixture is None:
        raise Unusable("not a dense decoder")
    software = _software(row)
    kinds = _kinds(row["gpu_type"])
    model = _shape(row, software) if mixture is None else _expert_shape(row, software, mixture)
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
        "sequence_parallel": float(software["sequence_parallel"] == "yes" or "SP" in row.get("recompute", "")),
        "overlap": float(software["overlap"] == "yes" or bool(re.search(r"async ?TP", notes, re.I))),
        "adapter_rank": _adapter_rank(row, model),
        "kernels": KERNELS["eager" if re.search(r"\beager\b", notes) else software["kernels"]],
    }
    return MeasuredRun(
        source=row.get("source") or "a source that is not named",
        label=f"{row['model']} on {row['gpus']} {row['gpu_type']}",
        family=software["family"],
        stack=software["stack"],
        generation=min(kinds, key=lambda kind: kind.achieved("bf16")).generation,
        columns=columns,
        seconds=_checked(_seconds(row, columns, kinds[0]), columns, peak),
        measured_memory=_memory(notes),
        recompute_given=bool(row.get("recompute") or software["recompute"]),
        kinds=tuple(kind.id for kind in kinds),
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
    rank = _number(row, "adapter_rank") or (float(USUAL_RANK) if ADAPTERS.search(text) else 0.0)
    if rank and "experts" in model:
        raise Unusable("adapters beside a mixture of experts")
    return rank


def _number(row: Mapping[str, str], name: str) -> float | None:
    text = row.get(name, "")
    if text.strip().lower() in MISSING:
        return None
    value = number(name, text)
    if value is None:
        raise Unusable(f"{name} is no number in a known unit")
    if value <= 0:
        raise Unusable(f"{name} is not above 0")
    if value > LARGEST:
        raise Unusable(f"{name} is too large to be true")
    if name in COUNTS and value != int(value):
        raise Unusable(f"{name} is no whole number")
    return value


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


@cache
def _public_shapes() -> list[tuple[str, dict[str, str]]]:
    rows = [(re.sub(r"[^a-z0-9.]", "", row["name"].lower()), row) for row in read_table("models.csv")]
    return sorted(rows, key=lambda pair: -len(pair[0]))


def _shape(row: Mapping[str, str], software: Mapping[str, str]) -> dict[str, float]:
    """The model's columns: the row's own, else the public shape of that name, else what the parameter count implies."""
    plain = re.sub(r"[^a-z0-9.]", "", row["model"].lower()).replace("llama3.1405b", "llama3.1405b")
    public = next((shape for name, shape in _public_shapes() if name in plain), {})

    def known(column: str, ours: str) -> float | None:
        return _number(row, column) or (float(public[ours]) if public else None)

    layers, width = known("layers", "layers"), known("hidden", "width")
    if layers is None or width is None:
        raise Unusable("no architecture")
    heads = known("heads", "heads") or max(1.0, round(width / 128))
    kv_heads = known("kv_heads", "kv_heads") or heads
    if not kv_heads <= heads <= width:
        raise Unusable("more heads than features, or more of keys than of queries")
    head_width = _head_width(row, public, width, heads)
    vocabulary = known("vocab", "vocabulary") or 50304.0
    sequence = _number(row, "seq_len") or float(software["sequence"] or 0)
    if not sequence:
        raise Unusable("no sequence length")
    shape = {
        "layers": layers,
        "width": width,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_width": head_width,
        "vocabulary": vocabulary,
        "sequence": sequence,
    }
    feed_forward = known("ffn", "feed_forward")
    gated = bool(re.search(r"llama|qwen|mistral|gemma|olmo|smol", row["model"], re.I))
    if public and feed_forward == float(public["feed_forward"]):
        return shape | {"feed_forward": feed_forward, "gates": float(public["gates"]), "tied": float(public["tied"])}
    parameters = (_number(row, "params_b") or 0) * 1e9
    if not parameters:
        return shape | {
            "feed_forward": feed_forward or 4 * width,
            "gates": 2.0 if gated and feed_forward else 1.0,
            "tied": 0.0,
        }
    return shape | _nearest_blocks(shape, feed_forward or 4 * width, parameters)


def _head_width(row: Mapping[str, str], public: Mapping[str, str], width: float, heads: float) -> float:
    """The row's own, else that of the public shape where the row has its heads, else an equal part of the width."""
    own = _number(row, "head_dim")
    if own is None and public and (width, heads) == (float(public["width"]), float(public["heads"])):
        own = _number(public, "head_width")
    if own is not None and own * heads > LARGEST_HEADS * width:
        raise Unusable("heads of more features than the model can feed")
    return own or width / heads


@cache
def _expert_shapes() -> list[tuple[str, dict[str, str]]]:
    rows = [(re.sub(r"[^a-z0-9.]", "", row["name"].lower()), row) for row in read_table("experts.csv")]
    return sorted(rows, key=lambda pair: -len(pair[0]))


def _known_mixture(model: str) -> dict[str, str] | None:
    plain = re.sub(r"[^a-z0-9.]", "", model.lower())
    return next((shape for name, shape in _expert_shapes() if name in plain), None)


def _expert_shape(row: Mapping[str, str], software: Mapping[str, str], public: dict[str, str]) -> dict[str, float]:
    """The columns of a published mixture of experts, perhaps cut to the row's layers."""
    sequence = _number(row, "seq_len") or float(software["sequence"] or 0)
    if not sequence:
        raise Unusable("no sequence length")
    layers = _number(row, "layers")
    width = _number(row, "hidden")
    if (layers or 1) > int(public["layers"]) or (width or int(public["width"])) != int(public["width"]):
        raise Unusable("architecture and name disagree")
    return model_columns(expert_model(public, layers=int(layers) if layers else None), int(sequence))


def _expert_layout(row: Mapping[str, str], layout: Mapping[str, float], experts: float) -> dict[str, float]:
    """Expert parallelism, and no chunks of the pipeline but those that the row names."""
    ep = _number(row, "ep") or 1.0
    if experts % ep or (layout["tp"] * layout["cp"] * layout["dp_shard"]) % ep:
        raise Unusable("degrees do not multiply to the device count")
    return {"ep": ep, "virtual": _number(row, "vpp") or 1.0}


def _nearest_blocks(shape: Mapping[str, float], feed_forward: float, parameters: float) -> dict[str, float]:
    """Gated or not, tied or not: whichever comes nearest to the published parameter count."""

    def off(choice: tuple[int, int]) -> float:
        gates, tied = choice
        attention = shape["width"] * shape["head_width"] * 2 * (shape["heads"] + shape["kv_heads"])
        blocks = shape["layers"] * (attention + (gates + 1) * shape["width"] * feed_forward)
        return abs(blocks + shape["vocabulary"] * shape["width"] * (2 - tied) - parameters)

    gates, tied = min(((g, t) for g in (1, 2) for t in (0, 1)), key=off)
    if off((gates, tied)) > 0.35 * parameters:
        raise Unusable("architecture and parameter count disagree")
    return {"feed_forward": feed_forward, "gates": float(gates), "tied": float(tied)}


def _layout(row: Mapping[str, str], software: Mapping[str, str], layers: float) -> dict[str, float]:
    """Degrees of parallelism, batch and recomputation. A row with FSDP and no degrees is data parallel only."""
    devices = _number(row, "gpus")
    if devices is None:
        raise Unusable("no device count")
    degrees = {name: _number(row, name) for name in ("tp", "cp", "pp", "dp")}
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
    batch = _number(row, "global_batch_seqs") or (dp * float(local[1]) if local else None)
    if batch is None and (tokens := _number(row, "global_batch_tokens")) and (length := _number(row, "seq_len")):
        batch = tokens / length
    if batch is None:
        raise Unusable("no global batch")
    micro = _number(row, "micro_batch") or (float(local[1]) if local and pp == 1 else None)
    per_replica = batch / dp
    if micro is None:
        micro = 1.0 if pp > 1 or tp > 1 or per_replica > 16 else per_replica
    virtual = _number(row, "vpp") or (2.0 if re.search(r"interleaved", notes, re.I) else 1.0)
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
    if (step := _number(row, "step_time_s")) is not None:
        return step
    if (rate := _number(row, "tokens_per_s")) is not None:
        return tokens / rate
    rate = _number(row, "tflops_per_gpu")
    if rate is None and (share := _number(row, "mfu_pct")) and columns["precision"] == PRECISIONS.index("bf16"):
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
