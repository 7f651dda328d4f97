"""Items per second and CPU time of our scorer beside lm-evaluation-harness 0.4.13's `hf` backend, on the same items.

    python bench/measuring/evals.py MODEL [--items 50] [--tasks hellaswag,arc_challenge,mmlu,piqa,mmlu@5]
                          [--batch-sizes 1,8,32] [--dtype float32|bfloat16] [--rounds 2] [--home HOME] [--keep]

Each round asks both for every task, one program after the other; `NAME@5` has five examples before each question.
`mmlu@5` takes its items from as few subjects as hold them, for in the whole set 246 questions share their examples.
lm-eval is asked at every batch size, and its best is what we are compared with. The record has each round, the medians,
the ratio of items per second and of CPU time (which other work on the machine sways less), the peak memory of both
processes, and how many choices differ.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from keep import keep

from ayllu.api.models import load
from ayllu.evals.harness.agree import agree
from ayllu.evals.standard.rows import Reader, open_reader
from ayllu.evals.standard.table import TASKS as SETS
from ayllu.evals.standard.task import Row, Task

TASKS = "hellaswag,arc_challenge,mmlu,piqa,mmlu@5"


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    given.add_argument("model")
    given.add_argument("--items", type=int, default=50)
    given.add_argument("--tasks", default=TASKS)
    given.add_argument("--batch-sizes", default="1,8,32")
    given.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    given.add_argument("--rounds", type=int, default=2)
    given.add_argument("--home", type=Path)
    given.add_argument("--keep", action="store_true")
    asked = given.parse_args()
    model = load(asked.model, home=asked.home)
    weights = model.weights(dtype=asked.dtype)  # once, as an evaluation has it
    found = {task: measured(task, model.folder, weights, asked) for task in asked.tasks.split(",")}
    figures = {
        "model": asked.model,
        "dtype": asked.dtype,
        "items": asked.items,
        "threads": torch.get_num_threads(),
        "tasks": {task: row for task, (row, _) in found.items()},
        "mean_ratio": statistics.fmean(row["ratio"] for row, _ in found.values()),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(figures, indent=1))
    if asked.keep:
        name = f"evals_{asked.dtype}"
        keep(name, figures, rounds={task: rounds for task, (_, rounds) in found.items()}, peers={"lm-eval": "0.4.13"})


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    rows = [
        f"| {name} | {row['items_per_second']:.2f} | {row['items_per_second_lm_eval']:.2f} | "
        f"{row['best_batch_size_lm_eval']} | {row['ratio']:.1f} | {row['cpu_ratio']:.1f} | "
        f"{row['choices_that_differ']} |"
        for name, row in figures["tasks"].items()
    ]
    head = "| items/s | Ayllu | lm-eval | at batch size | ratio | of CPU time | choices that differ |"
    alone = [row["ratio"] for name, row in figures["tasks"].items() if "@" not in name]
    memory = [row["peak_memory_mib_lm_eval"] for row in figures["tasks"].values()]
    return "\n".join(
        [
            f"{figures['model']} in {figures['dtype']}, {figures['items']} items each, threads: {figures['threads']}. "
            f"Without examples {statistics.fmean(alone):.1f} times lm-eval in the mean. Peak memory: ours "
            f"{figures['peak_memory_mib']:,.0f} MiB over all sets, lm-eval's {min(memory):,.0f} to {max(memory):,.0f}.",
            "",
            head,
            "|---|---|---|---|---|---|---|",
            *rows,
        ]
    )


def measured(
    name: str, folder: Path, loaded: tuple[Any, Any], asked: argparse.Namespace
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The comparison with lm-eval's best batch size, and every round of both programs at each."""
    task, _, shots = name.partition("@")
    chosen = of_few_subjects(SETS[task], asked.items) if task == "mmlu" and shots else SETS[task]
    rounds: dict[int, list[dict[str, Any]]] = {int(size): [] for size in asked.batch_sizes.split(",")}
    for _ in range(asked.rounds):
        for size, found in rounds.items():
            [entry] = agree(
                folder,
                *loaded,
                [chosen],
                open_reader(),
                items=asked.items,
                shots=int(shots) if shots else None,
                dtype=asked.dtype,
                batch_size=size,
            )["tasks"]
            found.append({**entry, "batch_size": size})
    theirs = {size: _median(found, "items_per_second_lm_eval") for size, found in rounds.items()}
    best = max(theirs, key=theirs.__getitem__)
    every = [entry for found in rounds.values() for entry in found]
    ours = _median(every, "items_per_second")
    row = {
        "items_per_second": ours,
        "items_per_second_lm_eval": theirs[best],
        "best_batch_size_lm_eval": best,
        "ratio": ours / theirs[best],
        "cpu_ratio": _median(rounds[best], "cpu_seconds_lm_eval") / _median(every, "cpu_seconds"),
        "choices_that_differ": max(entry["choices_that_differ"] for entry in every),
        "peak_memory_mib_lm_eval": _median(rounds[best], "peak_memory_mib_lm_eval"),
    }
    return row, every


def of_few_subjects(task: Task, items: int) -> Task:
    """The set with its first subjects alone, as many as hold the items."""

    def rows(reader: Reader) -> list[Row]:
        kept: list[Row] = []
        for _, part in groupby(task.rows(reader), key=lambda row: row["subject"]):
            if len(kept) >= items:
                break
            kept += part
        return kept

    return replace(task, rows=rows, items=len(rows(open_reader())))


def _median(entries: list[dict[str, Any]], key: str) -> float:
    return statistics.median(entry[key] for entry in entries)


if __name__ == "__main__":
    main()
