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
from typing import Any

import torch

RATE = 1e-4
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DOCUMENT = 700
"""Ids of a document, where rows hold several that do not see each other."""


def ours(
    shape: dict[str, int], ids: torch.Tensor, *, precision: str = "bf16", documents: bool = False
) -> Callable[[], float]:
    from ayllu.data.tokens.loader import Batch
    from ayllu.model.config import ModelConfig
    from ayllu.model.transformer import Transformer
    from ayllu.train.distributed.layout import Layout
    from ayllu.train.distributed.parallel_model import Spread
    from ayllu.train.loop import prepare
    from ayllu.train.optimizer import Optimizer, OptimizerConfig
    from ayllu.train.step import train_step

    prepare()
    with DEVICE:
        model = Transformer(
            ModelConfig(
                vocabulary=shape["V"],
                layers=shape["L"],
                width=shape["D"],
                heads=shape["H"],
                kv_heads=shape["K"],
                feed_forward=shape["F"],
                context=shape["T"],
            )
        )
    if DEVICE.type == "cpu":
        model.initialise(0)
    else:  # Billions of weights, drawn where they are.
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.data.normal_(0, 0.02)
    layout = Layout(precision=precision, micro_batch=shape["B"]) if precision != "bf16" else None
    spread = Spread(model, layout, dtype=torch.bfloat16, compiled=True)
    optimizer = Optimizer(spread.weights(), OptimizerConfig(matrices="adamw", adam_lr=RATE))
    whose = torch.arange(shape["T"]).div(DOCUMENT, rounding_mode="floor").expand(shape["B"], -1) if documents else None
    batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), whose)
    return lambda: train_step(spread, optimizer, batch, 1.0).loss


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
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape["V"],
        hidden_size=shape["D"],
        intermediate_size=shape["F"],
        num_hidden_layers=shape["L"],
        num_attention_heads=shape["H"],
        num_key_value_heads=shape["K"],
        max_position_embeddings=shape["T"],
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        use_cache=False,
    )
    with DEVICE:
        model = LlamaForCausalLM(config)
    forward: Any = torch.compile(model, dynamic=False) if compiled else model
    # The labels are shifted inside: of the same number of ids that go in, the last of a row has no target here.
    return autocast_step(model, lambda: forward(input_ids=ids, labels=ids).loss)


def litgpt(shape: dict[str, int], ids: torch.Tensor, *, compiled: bool) -> Callable[[], float]:
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    config = Config(
        block_size=shape["T"],
        vocab_size=shape["V"],
        padded_vocab_size=shape["V"],
        n_layer=shape["L"],
        n_head=shape["H"],
        n_query_groups=shape["K"],
        n_embd=shape["D"],
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        norm_eps=1e-5,
        mlp_class_name="LLaMAMLP",
        intermediate_size=shape["F"],
        rope_base=500_000,
    )
    with DEVICE:
        model = GPT(config)
    forward: Any = torch.compile(model, dynamic=False) if compiled else model
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    return autocast_step(model, lambda: chunked_cross_entropy(forward(inputs), targets, chunk_size=0))


def olmo_core(shape: dict[str, int], ids: torch.Tensor, *, compiled: bool) -> Callable[[], float]:
    from olmo_core.nn.transformer import TransformerConfig

    config = TransformerConfig.llama_like(
        d_model=shape["D"],
        vocab_size=shape["V"],
        n_layers=shape["L"],
        n_heads=shape["H"],
        n_kv_heads=shape["K"],
        rope_theta=500_000,
    )
    # Its rule for the feed-forward gives another width: the benchmark's is set.
    config.block.feed_forward.hidden_size = shape["F"]
    model = config.build(init_device=DEVICE.type)
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
    peak = held / 2**30 if held else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
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
