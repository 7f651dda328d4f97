"""What runs in ExecuTorch's own environment: it makes a .pte file, and computes one. It imports nothing of ours.

`program.py make FOLDER` reads job.json and weights.pt there and writes model.pte. `program.py run FILE` reads lines of
JSON from stdin, {"ids": [...], "at": n}, and writes for each a line {"rows": n, "columns": V} with as many float32
numbers behind it: the logits behind every id, computed one id at a time as a phone writes, or with "last" only those
behind all of them, computed at once as it reads a prompt.

The graph has the inputs that ExecuTorch's runner of language models gives (`extension/llm/runner`): ids, (1, T), and
the position of the first, (1). Keys and values are state of the program, which operators of `extension/llm/custom_ops`
write and attend to; logits come for the last id alone, so that no memory is planned for what nobody reads.

Shapes: T new tokens, S tokens of the cache, D width, H query heads, K key/value heads, h head width.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 32
"""Weights of four bits that share a scale."""


class Matrix(nn.Module):
    """A matmul by rows: float32, or integers with a scale a row (8 bits) or a group (4) and inputs in 8 bits."""

    def __init__(self, stored: dict[str, Tensor], name: str) -> None:
        super().__init__()
        values = stored[f"{name}.weight"]
        if values.dtype == torch.int8:
            values = _in_integers(values, stored[f"{name}.scales"])
        self.weight = nn.Parameter(values, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


def _in_integers(values_NK: Tensor, scales_NG: Tensor) -> Tensor:
    """What torch.export takes apart into the steps that XNNPACK knows: inputs rounded to 8 bits by token."""
    from torchao.quantization import IntxUnpackedToInt8Tensor
    from torchao.quantization.quantize_.workflows.intx.intx_unpacked_to_int8_tensor import (
        IntxUnpackedToInt8TensorActivationQuantization as Activations,
    )

    group = values_NK.shape[1] // scales_NG.shape[1]
    return IntxUnpackedToInt8Tensor(
        values_NK,
        scales_NG,
        torch.zeros_like(scales_NG, dtype=torch.int8),
        torch.int8 if scales_NG.shape[1] == 1 else getattr(torch, "int4"),  # noqa: B009
        (1, group),
        torch.float32,
        Activations.INT8_ASYM_PER_TOKEN,
    )


class Embedding(nn.Module):
    """Rows by id: float32, or 8 bits with a scale a row."""

    def __init__(self, stored: dict[str, Tensor]) -> None:
        super().__init__()
        self.register_buffer("weight", stored["embedding.weight"])
        self.register_buffer("scales", stored.get("embedding.scales"))

    def forward(self, ids: Tensor) -> Tensor:
        if self.scales is None:
            return F.embedding(ids, self.weight)
        return torch.ops.quantized_decomposed.embedding_byte(self.weight, self.scales, None, -128, 127, ids)


class Norm(nn.Module):
    """x / rms(x) * weight."""

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(weight, requires_grad=False), epsilon

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.epsilon) * self.weight


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm."""

    def __init__(self, stored: dict[str, Tensor], at: str, job: dict[str, Any]) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = job["heads"], job["kv_heads"], job["head_width"]
        self.attention_norm = Norm(stored[f"{at}.attention_norm.weight"], job["norm_epsilon"])
        self.feed_forward_norm = Norm(stored[f"{at}.feed_forward_norm.weight"], job["norm_epsilon"])
        self.wq, self.wk, self.wv, self.wo = (Matrix(stored, f"{at}.attention.w{part}") for part in "qkvo")
        self.w1, self.w2, self.w3 = (Matrix(stored, f"{at}.feed_forward.w{part}") for part in "123")
        shape_1SKh = (1, job["context"], self.kv_heads, self.head_width)
        self.register_buffer("keys", torch.zeros(shape_1SKh))
        self.register_buffer("values", torch.zeros(shape_1SKh))

    def forward(self, x_1TD: Tensor, cos_T1h: Tensor, sin_T1h: Tensor, at: int) -> Tensor:
        seen = self.attention_norm(x_1TD)
        T = seen.shape[1]
        q_1THh = _rotate(self.wq(seen).view(1, T, self.heads, self.head_width), cos_T1h, sin_T1h)
        k_1TKh = _rotate(self.wk(seen).view(1, T, self.kv_heads, self.head_width), cos_T1h, sin_T1h)
        v_1TKh = self.wv(seen).view(1, T, self.kv_heads, self.head_width)
        torch.ops.llama.update_cache(k_1TKh, self.keys, at)
        torch.ops.llama.update_cache(v_1TKh, self.values, at)
        y_1THh = torch.ops.llama.custom_sdpa(q_1THh, self.keys, self.values, at, None, 0, True)
        x_1TD = x_1TD + self.wo(y_1THh.reshape(1, T, self.heads * self.head_width))
        seen = self.feed_forward_norm(x_1TD)
        return x_1TD + self.w2(F.silu(self.w1(seen)) * self.w3(seen))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


class Model(nn.Module):
    """Ids and the position of the first: logits behind the last, (1, V)."""

    def __init__(self, stored: dict[str, Tensor], job: dict[str, Any]) -> None:
        super().__init__()
        self.context = job["context"]
        self.embedding = Embedding(stored)
        self.blocks = nn.ModuleList(Block(stored, f"blocks.{layer}", job) for layer in range(job["layers"]))
        self.norm = Norm(stored["norm.weight"], job["norm_epsilon"])
        self.output = Matrix(stored, "output")
        self.register_buffer("cos", stored["cos"][:, None])
        self.register_buffer("sin", stored["sin"][:, None])

    def forward(self, ids_1T: Tensor, position_1: Tensor) -> Tensor:
        at, T = cast(int, position_1[0].item()), ids_1T.shape[1]
        torch._check(at >= 0)
        torch._check(at + T <= self.context)
        cos_T1h, sin_T1h = cast(Tensor, self.cos).narrow(0, at, T), cast(Tensor, self.sin).narrow(0, at, T)
        x_1TD = self.embedding(ids_1T)
        for block in self.blocks:
            x_1TD = block(x_1TD, cos_T1h, sin_T1h, at)
        return self.output(self.norm(x_1TD[:, -1]))


def make(folder: Path) -> None:
    """Write model.pte beside job.json and weights.pt."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
        XnnpackDynamicallyQuantizedPartitioner,
        XnnpackPartitioner,
    )
    from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower
    from executorch.exir.passes import MemoryPlanningPass
    from executorch.exir.passes._quant_patterns_and_replacements import quantized_decomposed_lib  # noqa: F401
    from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass
    from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401  # registers the operators

    job = json.loads((folder / "job.json").read_text())
    model = Model(torch.load(folder / "weights.pt", weights_only=True, mmap=True), job).eval()
    example = (torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, dtype=torch.long))
    length = torch.export.Dim("length", min=1, max=job["context"])
    with torch.no_grad():
        exported = torch.export.export(model, example, dynamic_shapes=({1: length}, None), strict=False)
    parts = [XnnpackDynamicallyQuantizedPartitioner()] if job["integers"] else []
    edge = to_edge_transform_and_lower(
        exported,
        partitioner=[*parts, XnnpackPartitioner()],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
        constant_methods=job["metadata"],
    )
    program = edge.to_executorch(
        ExecutorchBackendConfig(
            memory_planning_pass=MemoryPlanningPass(alloc_graph_input=False),
            sym_shape_eval_pass=ConstraintBasedSymShapeEvalPass(),
        )
    )
    with (folder / "model.pte").open("wb") as file:
        program.write_to_file(file)


def run(file: Path) -> None:
    """Answer what stdin asks until it ends."""
    # The runtime writes to stdout what it pleases.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401  # registers the operators
    from executorch.kernels import quantized  # noqa: F401  # and that of an embedding in 8 bits
    from executorch.runtime import Runtime

    torch.set_num_threads(1)
    forward = Runtime.get().load_program(file).load_method("forward")
    for line in sys.stdin:
        asked = json.loads(line)
        ids, at = torch.tensor([asked["ids"]]), asked.get("at", 0)
        # What a call returns is memory of the program, which the next one writes over.
        if asked.get("last"):
            rows = [forward.execute([ids, torch.tensor([at])])[0].clone()]
        else:
            steps = range(ids.shape[1])
            rows = [forward.execute([ids[:, n : n + 1], torch.tensor([at + n])])[0].clone() for n in steps]
        found = torch.cat(rows).float()
        out.write(json.dumps({"rows": found.shape[0], "columns": found.shape[1]}).encode() + b"\n")
        out.write(found.numpy().tobytes())
        out.flush()


if __name__ == "__main__":
    {"make": make, "run": run}[sys.argv[1]](Path(sys.argv[2]))
