"""One learner of the speedrun, run by its own interpreter: trains for so many seconds and writes a Hugging Face folder.

Argument: a JSON object with `who` (ours or transformers), `shape`, `samples` (.npz), `seconds`, `seed`, `out` and
`settings`. Both learners take the same rows in the same order. The clock runs while steps are made: compiling, which
both do first at a learning rate of zero, and saving are outside of it. Schedules follow the clock, so that a busy
machine costs steps and never the end of the schedule.

Shapes: B batch, T time.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peers
import torch

Step = Callable[[int, int, float], float]
"""(first sample, batch size, share of the peak rates) to the loss."""


class Samples:
    """Rows of T + 1 ids, of which some are not to be predicted; read again from the start when they are used up."""

    def __init__(self, path: str) -> None:
        # Arrays alone: nothing of the file is code.
        with np.load(path, allow_pickle=False) as arrays:
            self.ids, self.predicted = arrays["ids"], arrays["predicted"]
            self.bos = int(arrays["bos"])

    def rows(self, first: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        numbers = np.arange(first, first + size) % len(self.ids)
        return torch.from_numpy(self.ids[numbers].astype(np.int64)), torch.from_numpy(self.predicted[numbers])


def ours(job: dict[str, Any], samples: Samples) -> tuple[Step, Callable[[], None], Callable[[Path], None]]:
    from ayllu.data.tokens.loader import IGNORED, Batch
    from ayllu.model.files import hf
    from ayllu.model.transformer import Transformer
    from ayllu.train.distributed.parallel_model import ParallelModel
    from ayllu.train.loop import make_deterministic
    from ayllu.train.optimizer import Optimizer, OptimizerConfig
    from ayllu.train.step import train_step

    shape, settings = job["shape"], job["settings"]
    make_deterministic()
    model = Transformer(peers.ours(shape, context=1024, tied=True))
    model.initialise(job["seed"])
    parallel = ParallelModel(model, None, dtype=torch.bfloat16, compiled=True)
    config = OptimizerConfig(**settings.get("optimizer", {}))
    optimizer = Optimizer(parallel.weights(), config)

    def step(first: int, size: int, factor: float) -> float:
        ids_BT, predicted_BT = samples.rows(first, size)
        targets_BT = torch.where(predicted_BT[:, 1:], ids_BT[:, 1:], IGNORED)
        ids_BT = ids_BT[:, :-1].contiguous()
        documents_BT = (ids_BT == samples.bos).cumsum(1)
        return train_step(parallel, optimizer, Batch(ids_BT, targets_BT, documents_BT), factor).loss

    def forget() -> None:
        nonlocal optimizer
        optimizer = Optimizer(parallel.weights(), config)

    return step, forget, lambda folder: hf.save(folder, model, bos=samples.bos, stops=[])


def transformers(job: dict[str, Any], samples: Samples) -> tuple[Step, Callable[[], None], Callable[[Path], None]]:
    from transformers import LlamaForCausalLM

    shape, settings = job["shape"], job["settings"]
    torch.manual_seed(job["seed"])
    model = LlamaForCausalLM(peers.transformers(shape, context=1024, tied=True))
    forward: Any = torch.compile(model, dynamic=False)

    def fresh() -> torch.optim.Optimizer:
        decayed = [w for w in model.parameters() if w.ndim == 2]
        others = [w for w in model.parameters() if w.ndim < 2]
        groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), fused=True)

    optimizer = fresh()

    def step(first: int, size: int, factor: float) -> float:
        ids_BT, predicted_BT = samples.rows(first, size)
        for group in optimizer.param_groups:
            group["lr"] = settings["rate"] * factor
        with torch.autocast("cpu", torch.bfloat16):
            loss = forward(input_ids=ids_BT, labels=ids_BT.masked_fill(~predicted_BT, -100)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss)

    def forget() -> None:
        nonlocal optimizer
        optimizer = fresh()

    return step, forget, model.save_pretrained


def linear(share: float, warmup: float) -> float:
    return min(share / warmup, 1.0) * (1 - share)


def cosine(share: float, warmup: float) -> float:
    return share / warmup if share < warmup else 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))


def main() -> None:
    job = json.loads(sys.argv[1])
    settings = job["settings"]
    torch.set_num_threads(job["threads"])
    samples = Samples(job["samples"])
    build, schedule = {"ours": (ours, linear), "transformers": (transformers, cosine)}[job["who"]]
    step, forget, save = build(job, samples)
    sizes: list[list[float]] = settings["batch"]
    for _, size in sizes:
        for _ in range(3):
            step(0, int(size), 0.0)
    forget()
    spent, sample, count = 0.0, 0, 0
    curve: list[tuple[float, float]] = []
    while spent < job["seconds"]:
        share = spent / job["seconds"]
        size = int(next(size for until, size in sizes if share < until))
        began = time.perf_counter()
        loss = step(sample, size, schedule(share + 1e-6, settings["warmup"]))
        spent += time.perf_counter() - began
        sample, count = sample + size, count + 1
        curve.append((round(spent, 3), round(loss, 4)))
    out = Path(job["out"])
    save(out)
    rows = len(samples.ids)
    facts = {"seconds": spent, "steps": count, "tokens": sample * (samples.ids.shape[1] - 1), "passes": sample / rows}
    (out / "curve.json").write_text(json.dumps(facts | {"curve": curve}))


if __name__ == "__main__":
    main()
