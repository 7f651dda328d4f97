"""What runs in lm-eval's own environment: its `hf` backend over items that lie in files. It imports nothing of ours.

Started as `python peer.py JOB`, a JSON file: {"model", "dtype", "softmax_dtype", "batch_size", "threads", "out",
"tasks": [{"task", "yaml", "data", "shots", "examples", "split"}]}. `out` gets one line a task: {"task", "seconds",
"cpu", "memory", "samples": [{"pairs", "log_likelihoods", "text", "values"}]}, in the order of the rows. Only the time
in the backend's three methods counts: no loading, no prompts, no metrics.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
METHODS = ("loglikelihood", "loglikelihood_rolling", "generate_until")


def main(job: dict[str, Any]) -> None:
    import lm_eval
    import torch
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    torch.set_num_threads(job["threads"])
    own = Path(lm_eval.__file__).parent / "tasks"
    model = HFLM(
        pretrained=job["model"],
        dtype=job["dtype"],
        softmax_dtype=job["softmax_dtype"],
        device="cpu",
        batch_size=job["batch_size"],
    )
    clock = _timed(model)
    with Path(job["out"]).open("w") as out:
        for number, task in enumerate(job["tasks"]):
            folder = Path(job["out"]).parent / f"task{number}"
            folder.mkdir()
            (folder / "task.yaml").write_text(json.dumps(_config(task, own)))
            clock.update(seconds=0.0, cpu=0.0)
            found = lm_eval.simple_evaluate(
                model=model,
                tasks=[task["task"]],
                task_manager=TaskManager(include_path=str(folder), include_defaults=False),
                num_fewshot=task["shots"],
                log_samples=True,
                bootstrap_iters=0,
                confirm_run_unsafe_code=True,
            )
            line = {
                "task": task["task"],
                **clock,
                "memory": _peak_mib(),
                "samples": _samples(found["samples"][task["task"]]),
            }
            out.write(json.dumps(line) + "\n")
            out.flush()


def _peak_mib() -> float:
    """The most memory of this program. `ru_maxrss` holds, across exec, that of the program which started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024


def _config(task: dict[str, Any], own: Path) -> dict[str, Any]:
    """The built-in task with its data replaced: prompts, filters and metrics are what its file says."""
    files = {"test": task["data"]}
    if task["examples"]:
        files["train"] = task["examples"]
    return {
        "include": str(own / task["yaml"]),
        "task": task["task"],
        "dataset_path": "parquet",
        "dataset_name": None,
        "training_split": None,
        "validation_split": None,
        "test_split": "test",
        "dataset_kwargs": {"data_files": files},
        **({"fewshot_split": "train"} if task["examples"] else {}),
    }


def _timed(model: Any) -> dict[str, float]:
    clock = {"seconds": 0.0, "cpu": 0.0}

    def wrap(method: Any) -> Any:
        def timed(*given: Any, **named: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return method(*given, **named)
            finally:
                clock["seconds"] += time.perf_counter() - wall
                clock["cpu"] += time.process_time() - cpu

        return timed

    for name in METHODS:
        setattr(model, name, wrap(getattr(model, name)))
    return clock


def _samples(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry a row; a row that several filters judged has their metrics under `metric,filter`."""
    rows: dict[int, dict[str, Any]] = {}
    for sample in samples:
        first = sample["resps"][0][0]
        text = first if isinstance(first, str) else None
        entry = rows.setdefault(
            sample["doc_id"],
            {
                "pairs": ordered_arguments(sample["arguments"]),
                "log_likelihoods": [] if text is not None else [likelihood_of(answer[0]) for answer in sample["resps"]],
                "greedy": None if text is not None or not isinstance(first, (list, tuple)) else bool(first[1]),
                "text": text,
                "values": {},
            },
        )
        for metric in sample.get("metrics", []):
            if isinstance(sample.get(metric), (int, float)):
                entry["values"][f"{metric},{sample['filter']}"] = float(sample[metric])
    return [rows[number] for number in sorted(rows)]


def ordered_arguments(arguments: Any) -> list[Any]:
    """What a sample was asked, one list a request: given and scored text, or given text and settings."""
    if isinstance(arguments, dict):
        ordered = sorted(arguments, key=lambda name: int(re.sub(r"\D", "", name) or 0))
        return [list(arguments[name].values()) for name in ordered]
    return [list(value) if isinstance(value, (list, tuple)) else value for value in arguments]


def likelihood_of(answer: Any) -> float:
    """The log-likelihood in an answer, which has whether it is greedy beside it; files hold both as text."""
    return float(answer[0] if isinstance(answer, (list, tuple)) else answer)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main(json.loads(Path(sys.argv[1]).read_text()))
