"""Tables of runs as other people write them: other names of the columns, other units, other separators."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

from ayllu.lab.error import UserError

LARGEST_CELL = 2**20
"""Characters; a longer one is no cell of a table of runs."""

OTHER_NAMES = {
    "gpu_type": ("accelerator", "accelerator_type", "gpu", "gpu_model", "device", "device_type", "hardware", "chip"),
    "gpus": (
        "num_gpus",
        "n_gpus",
        "ngpus",
        "gpu_count",
        "accelerators",
        "devices",
        "num_devices",
        "world_size",
        "chips",
    ),
    "seq_len": ("sequence_length", "seq_length", "seqlen", "sequence", "context_length", "max_seq_len"),
    "micro_batch": ("micro_batch_size", "mbs", "microbatch", "micro_batch_seqs"),
    "global_batch_seqs": ("global_batch_size", "gbs", "global_batch", "batch_size_seqs"),
    "global_batch_tokens": ("batch_tokens", "tokens_per_batch", "tokens_per_step"),
    "dtype": ("precision",),
    "tp": ("tensor_parallel", "tensor_parallel_size"),
    "pp": ("pipeline_parallel", "pipeline_parallel_size"),
    "cp": ("context_parallel", "context_parallel_size"),
    "dp": ("data_parallel", "data_parallel_size"),
    "ep": ("expert_parallel", "expert_parallel_size"),
    "vpp": ("virtual_pipeline", "virtual_pipeline_size", "interleave"),
    "step_time_s": ("step_time", "seconds_per_step", "step_seconds", "iteration_time_s", "iteration_time", "step_s"),
    "step_time_ms": ("iteration_time_ms", "ms_per_step", "step_ms"),
    "tokens_per_s": ("tokens_per_second", "tokens_s", "throughput_tokens_per_s", "tok_s"),
    "tokens_per_s_per_gpu": (
        "tokens_per_second_per_gpu",
        "tokens_per_gpu_per_s",
        "tokens_per_s_gpu",
        "tokens_s_gpu",
        "tokens_per_s_per_device",
    ),
    "tflops_per_gpu": ("tflops", "tflops_gpu", "tflop_s_per_gpu", "tflops_per_device", "model_tflops_per_gpu"),
    "mfu_pct": ("mfu_percent",),
    "model": ("model_name",),
    "params_b": ("parameters_b", "params_billion", "billion_parameters"),
    "layers": ("num_layers", "n_layers"),
    "hidden": ("hidden_size", "d_model", "width"),
    "heads": ("num_heads", "n_heads", "num_attention_heads"),
    "kv_heads": ("num_kv_heads", "n_kv_heads", "num_key_value_heads", "num_query_groups"),
    "head_dim": ("head_width", "head_size", "d_head", "kv_channels", "attention_head_dim", "head_dimension"),
    "adapter_rank": ("lora_rank", "lora_r", "lora_dim", "peft_rank", "adapter_dim"),
    "ffn": ("ffn_hidden_size", "intermediate_size", "feed_forward", "d_ff"),
    "vocab": ("vocab_size", "vocabulary", "vocabulary_size"),
    "recompute": ("activation_checkpointing", "recomputation"),
}
"""Our name of a column, and what else it is called, in small letters with `_` between words."""
_OURS = {other: ours for ours, others in OTHER_NAMES.items() for other in others}

MISSING = {"", "-", "–", "—", "?", "n/a", "na", "nan", "none", "null", "unknown", "tbd"}
"""What stands in a cell of numbers where nobody knows."""
SECONDS = {"s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
MANY = {"k": 1e3, "m": 1e6, "b": 1e9}
UNITS: dict[str, Mapping[str, float]] = {
    "step_time_s": SECONDS | {"min": 60.0},
    "tokens_per_s": MANY | {"tokens/s": 1.0, "tok/s": 1.0, "ktok/s": 1e3, "mtok/s": 1e6},
    "tflops_per_gpu": {"tflops": 1.0, "tflop/s": 1.0, "tflops/s": 1.0, "tflop": 1.0, "pflops": 1e3, "pflop/s": 1e3},
    "mfu_pct": {"%": 1.0, "percent": 1.0},
    "params_b": {"b": 1.0, "bn": 1.0, "m": 1e-3, "t": 1e3},
    # Lengths are told in units of 1,024: 8K are 8,192.
    "seq_len": {"k": 1024.0, "tokens": 1.0},
    "global_batch_tokens": MANY | {"tokens": 1.0},
    "gpus": {"gpus": 1.0, "gpu": 1.0, "chips": 1.0},
    "vocab": {"k": 1e3},
}
"""Units that a number may carry, by column, in small letters."""

_NUMBER = re.compile(r"([-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(.*)", re.I | re.S)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV by our names of the columns; also with `;` or tabs, and with a byte-order mark.

    Raises UserError when the file is no table of text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        csv.field_size_limit(LARGEST_CELL)
        first = next((line for line in text.splitlines() if line.strip()), "")
        separator = max(",;\t", key=first.count)
        return [_named(row) for row in csv.DictReader(io.StringIO(text), delimiter=separator)]
    except (OSError, UnicodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{path}: it cannot be read as a CSV of runs ({reason})") from error


def _named(row: Mapping[str | None, str | list[str] | None]) -> dict[str, str]:
    """One row by our names; a cell beyond the header is left out. A column that we call so goes before a synonym."""
    found: dict[str, str] = {}
    for name, value in row.items():
        if name is None or isinstance(value, list):
            continue
        plain = re.sub(r"[^a-z0-9]+", "_", name.strip().lower().replace("%", "pct")).strip("_")
        text = (value or "").strip()
        if plain in _OURS:
            found.setdefault(_OURS[plain], text)
        else:
            found[plain] = text
    return found | _derived(found)


def _derived(row: Mapping[str, str]) -> dict[str, str]:
    """Times in another form: milliseconds, tokens per second and accelerator, and MFU as a share."""
    found: dict[str, str] = {}
    if not row.get("step_time_s") and (milliseconds := number("step_time_ms", row.get("step_time_ms", ""))):
        found["step_time_s"] = repr(milliseconds / 1000)
    each, gpus = (number(name, row.get(name, "")) for name in ("tokens_per_s_per_gpu", "gpus"))
    if not row.get("tokens_per_s") and each and gpus:
        found["tokens_per_s"] = repr(each * gpus)
    if not row.get("mfu_pct") and (share := number("mfu", row.get("mfu", ""))):
        found["mfu_pct"] = repr(100 * share if share <= 1 else share)
    return found


def number(column: str, text: str) -> float | None:
    """The number in a cell, in the column's own unit; None where there is none, or no such number."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return None
    factor = {"": 1.0, **UNITS.get(column, {})}.get(match[2].strip().lower())
    return None if factor is None else float(match[1].replace(",", "")) * factor
