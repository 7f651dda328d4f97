"""A row of a table of published training runs, and how such a table is written."""

from __future__ import annotations

import csv
from pathlib import Path

ROW = {
    "source": "a new paper",
    "where": "",
    "model": "Llama-3.1-8B",
    "params_b": "8.03",
    "layers": "32",
    "hidden": "4096",
    "heads": "32",
    "kv_heads": "8",
    "ffn": "14336",
    "vocab": "128256",
    "gpus": "64",
    "gpu_type": "H100-SXM-80GB",
    "dtype": "bf16",
    "tp": "2",
    "pp": "1",
    "cp": "1",
    "dp": "32",
    "micro_batch": "1",
    "recompute": "none",
    "global_batch_seqs": "128",
    "seq_len": "8192",
    "step_time_s": "2.0",
    "tokens_per_s": "",
    "tflops_per_gpu": "",
    "mfu_pct": "",
    "notes": "",
}


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path
