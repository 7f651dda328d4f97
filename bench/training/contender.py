"""One contender of the training benchmark, run by its own interpreter: steps on demand, read from stdin.

Arguments: the contender's name and a shape as JSON. Prints a JSON line when it is ready, and for each number N read
one with the seconds of N steps. All contenders have the same shape, tokens, fused AdamW, bf16 products with float32
weights, and a loss over all tokens. Where there is a GPU all run on it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peers
import torch

RATE = 1e-4
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DOCUMENT = 700
"""Ids of a document, where rows hold several that do not see each other."""


def ours(
    shape: dict[str, int], ids: torch.Tensor, *, precision: str = "bf16", documents: bool = False
) -> Callable[[], float]:
    from ayllu.data.tokens.loader import Batch
    from ayllu.model.transformer import Transformer
    from ayllu.train.distributed.layout import Layout
    from ayllu.train.distributed.parallel_model import ParallelModel
    from ayllu.train.loop import make_deterministic
    from ayllu.train.optimizer import Optimizer, OptimizerConfig
    from ayllu.train.step import train_step

    make_deterministic()
    with DEVICE:
        model = Transformer(peers.ours(shape))
    if DEVICE.type == "cpu":
        model.initialise(0)
    else:  # Billions of weights, drawn where they are.
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.data.normal_(0, 0.02)
    layout = Layout(precision=precision, micro_batch=shape["B"]) if precision != "bf16" else None
    parallel = ParallelModel(model, layout, dtype=torch.bfloat16, compiled=True)
    optimizer = Optimizer(parallel.weights(), OptimizerConfig(matrices="adamw", adam_lr=RATE))
    whose = torch.arange(shape["T"]).div(DOCUMENT, rounding_mode="floor").expand(shape["B"], -1) if documents else None
    batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), whose)
    return lambda: train_step(parallel, optimizer, batch, 1.0).loss


def autocast_step(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], float]:
    """A plain step as the peers' own loops take it: autocast, gradient norm, fused AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)

    def step() -> float:
        with torch.autocast(DEVICE.type, torch.bfloat16):
            value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(value.detach())

    return step


def transformers(shape: dict[str, int], ids: torch.Tensor, *, compiled: bool) -> Callable[[], float]:
    from transformers import LlamaForCausalLM

    with DEVICE:
        model = LlamaForCausalLM(peers.transformers(shape))
    forward: Any = torch.compile(model, dynamic=False) if compiled else model
    # The labels are shifted inside: of the same number of ids that go in, the last of a row has no target here.
    return autocast_step(model, lambda: forward(input_ids=ids, labels=ids).loss)


def litgpt(shape: dict[str, int], ids: torch.Tensor, *, compiled: bool) -> Callable[[], float]:
    from litgpt import GPT
    from litgpt.utils import chunked_cross_entropy

    with DEVICE:
        model = GPT(peers.litgpt(shape))
    forward: Any = torch.compile(model, dynamic=False) if compiled else model
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    return autocast_step(model, lambda: chunked_cross_entropy(forward(inputs), targets, chunk_size=0))


def olmo_core(shape: dict[str, int], ids: torch.Tensor, *, compiled: bool) -> Callable[[], float]:
    model = peers.olmo_core(shape).build(init_device=DEVICE.type)
    model.init_weights(device=DEVICE)
    if compiled:
        model.apply_compile()
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    return autocast_step(model, lambda: model(inputs, labels=targets).loss)


CONTENDERS: dict[str, Callable[[dict[str, int], torch.Tensor], Callable[[], float]]] = {
    "ours": ours,
    "ours-documents": lambda shape, ids: ours(shape, ids, documents=True),
    "ours-float8": lambda shape, ids: ours(shape, ids, precision="float8"),
    "ours-float8-documents": lambda shape, ids: ours(shape, ids, precision="float8", documents=True),
    "transformers-eager": lambda shape, ids: transformers(shape, ids, compiled=False),
    "transformers-compiled": lambda shape, ids: transformers(shape, ids, compiled=True),
    "litgpt-eager": lambda shape, ids: litgpt(shape, ids, compiled=False),
    "litgpt-compiled": lambda shape, ids: litgpt(shape, ids, compiled=True),
    "olmo-core-eager": lambda shape, ids: olmo_core(shape, ids, compiled=False),
    "olmo-core-compiled": lambda shape, ids: olmo_core(shape, ids, compiled=True),
}


def _peak_kib() -> float:
    """The most memory of this program. `ru_maxrss` holds, across exec, that of the program which started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(status.read_text().partition("VmHWM:")[2].split()[0])


def main() -> None:
    name, shape = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(shape["threads"])
    torch.manual_seed(0)
    extra = 0 if name.startswith("transformers") else 1
    ids = torch.randint(0, shape["V"], (shape["B"], shape["T"] + extra), generator=torch.Generator().manual_seed(0))
    began = time.perf_counter()
    # Ours brings its batches to the device itself.
    step = CONTENDERS[name](shape, ids if name.startswith("ours") else ids.to(DEVICE))
    loss = step()
    first = time.perf_counter() - began
    if DEVICE.type == "cuda":  # Optimizers that make their state in the first step hold all of it in the second.
        step()
    held = torch.cuda.max_memory_allocated() if DEVICE.type == "cuda" else 0
    peak = held / 2**30 if held else _peak_kib() / 2**20
    print(json.dumps({"first_s": first, "loss": loss, "peak_gib": peak}), flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            began = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - began)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
