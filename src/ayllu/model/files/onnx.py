"""ONNX: the graph of a Llama model, written node by node, with its cache of keys and values.

It has the inputs and outputs that ONNX Runtime GenAI's builder gives such a model: `input_ids`, `attention_mask` and
`past_key_values.N.key`; `logits` and `present.N.key`. Attention with rotation is one node (`GroupQueryAttention` of
com.microsoft), scaling of positions is in its tables. Nothing of the machine or the program that wrote it is in the
file, as there is after `torch.onnx.export`: the same weights are the same bytes.

Weights of F16 and BF16 are stored so and computed in float32. Q8_0 and Q4_0 are groups of 32 with a scale
(`MatMulNBits`); the embedding has 16 bits then, and the output projection eight.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from ayllu.model.config import ModelConfig
from ayllu.model.files.quantize.blocks import FOUR
from ayllu.model.files.quantize.fit import fit_scale, inverse
from ayllu.model.files.quantize.types import BLOCK
from ayllu.model.files.weights import replacing
from ayllu.model.frequencies import inverse_frequencies
from ayllu.model.transformer import Block, Transformer

if TYPE_CHECKING:
    import onnx

Type = Literal["F32", "F16", "BF16", "Q8_0", "Q4_0"]
TYPES: tuple[Type, ...] = ("F32", "F16", "BF16", "Q8_0", "Q4_0")
FILE, DATA = "model.onnx", "model.onnx.data"
OPSET, CONTRIBUTED = 23, "com.microsoft"
ONE_FILE = 1 << 30
"""Bytes of weights that the graph's own file holds: protobuf ends at two GiB. More go into `DATA` beside it."""
HEAD_STEP = 16
"""What the width of a head must be a multiple of, where the node rotates positions (`GroupQueryAttention`)."""
ALIGNED = 4096
"""Tensors in `DATA` begin at multiples of this, so that they can be mapped."""


def write(folder: Path, model: Transformer, *, dtype: Type = "F32") -> list[str]:
    """Write `model.onnx`, and for large models `model.onnx.data`, into `folder`; gives their names.

    Raises ImportError where the package onnx is missing, ValueError where the weights do not fit the type.
    """
    import onnx

    if dtype in ("Q8_0", "Q4_0") and any(size % BLOCK for size in (model.config.width, model.config.feed_forward)):
        raise ValueError(f"{dtype} needs rows of whole blocks of {BLOCK} weights; write F16")
    if model.config.head_width % HEAD_STEP:
        raise ValueError(
            f"its heads are {model.config.head_width} wide, and ONNX Runtime's attention takes multiples of {HEAD_STEP}"
        )
    graph = _Graph(model, dtype)
    graph.build()
    split = graph.size > ONE_FILE
    if split:
        graph.move_weights(folder / DATA)
    proto = graph.proto()
    with replacing(folder / FILE) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))
        onnx.checker.check_model(str(temporary))
    return [FILE, DATA] if split else [FILE]


class _Graph:
    """Nodes and weights in the order in which they are needed."""

    def __init__(self, model: Transformer, dtype: Type) -> None:
        self.model, self.config, self.dtype = model, model.config, dtype
        self.nodes: list[Any] = []
        self.weights: list[onnx.TensorProto] = []

    @property
    def size(self) -> int:
        return sum(len(weight.raw_data) for weight in self.weights)

    def node(self, kind: str, inputs: list[str], output: str, *more: str, domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output, *more], output, domain=domain, **attributes))
        return output

    def constant(self, name: str, values: np.ndarray) -> str:
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def stored(self, name: str, values: Tensor, kind: str) -> str:
        """A weight in the type `kind`, as float32 for the nodes behind it."""
        from onnx import TensorProto, helper

        exact = values.detach().float().contiguous()
        if not bool(torch.isfinite(exact).all()):
            raise ValueError(f"{name} holds values that are no finite numbers (NaN or infinite)")
        if kind == "F32":
            return self.constant(name, exact.numpy())
        kept = exact.to(torch.float16 if kind == "F16" else torch.bfloat16)
        if not bool(torch.isfinite(kept).all()):
            raise ValueError(f"{name} has values beyond the range of {kind}; write F32")
        number = TensorProto.FLOAT16 if kind == "F16" else TensorProto.BFLOAT16
        raw = kept.view(torch.int16).numpy().tobytes()
        self.weights.append(helper.make_tensor(f"{name}.{kind}", number, list(kept.shape), raw, raw=True))
        return self.node("Cast", [f"{name}.{kind}"], name, to=TensorProto.FLOAT)

    def matmul(self, x: str, name: str, weight_NK: Tensor, output: str) -> str:
        """x times the transposed weight."""
        if self.dtype in ("F32", "F16", "BF16"):
            return self.node("MatMul", [x, self.stored(name, weight_NK.T, self.dtype)], output)
        bits = 4 if self.dtype == "Q4_0" and not name.startswith("output") else 8
        N, K = weight_NK.shape
        packed, scales = _blocks(weight_NK.detach().float(), bits)
        inputs = [x, self.constant(f"{name}.blocks", packed), self.constant(f"{name}.scales", scales)]
        shape: dict[str, Any] = {"K": K, "N": N, "bits": bits, "block_size": BLOCK, "accuracy_level": 4}
        return self.node("MatMulNBits", inputs, output, domain=CONTRIBUTED, **shape)

    def norm(self, x: str, name: str, weight: Tensor) -> str:
        gain = self.constant(name, weight.detach().float().numpy())
        return self.node("RMSNormalization", [x, gain], f"{name}/out", axis=-1, epsilon=self.config.norm_epsilon)

    def build(self) -> None:
        from onnx import TensorProto

        one, axis = self.constant("one", np.array(1, np.int64)), self.constant("axis", np.array([1], np.int64))
        count = self.node("ReduceSum", ["attention_mask", axis], "mask/count", keepdims=0)
        self.node("Cast", [self.node("Sub", [count, one], "mask/last")], "last", to=TensorProto.INT32)
        shape = self.node("Shape", ["attention_mask"], "mask/shape")
        self.node("Cast", [self.node("Gather", [shape, one], "mask/total")], "total", to=TensorProto.INT32)
        for name, table in zip(("cos", "sin"), _rotation(self.config), strict=True):
            self.constant(name, table)
        embedding = self.model.embedding.weight
        x = self.node("Gather", [self.stored("embedding", embedding, self._embedding_type()), "input_ids"], "embedded")
        for layer in range(self.config.layers):
            x = self._block(x, layer)
        self.matmul(self.norm(x, "norm", self.model.norm.weight), "output", self.model.output.weight, "logits")

    def _embedding_type(self) -> str:
        return self.dtype if self.dtype in ("F32", "F16", "BF16") else "F16"

    def _block(self, x: str, layer: int) -> str:
        block, at = cast(Block, self.model.blocks[layer]), f"layers.{layer}"
        attention, mixer = block.attention, block.feed_forward
        seen = self.norm(x, f"{at}.attention_norm", block.attention_norm.weight)
        parts = [
            self.matmul(seen, f"{at}.{part}", getattr(attention, part).weight, f"{at}.{part}/out")
            for part in ("wq", "wk", "wv")
        ]
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        heads: dict[str, Any] = {"num_heads": self.config.heads, "kv_num_heads": self.config.kv_heads}
        inputs = [*parts, *past, "last", "total", "cos", "sin"]
        presents = [f"present.{layer}.{part}" for part in ("key", "value")]
        rotary: dict[str, Any] = {"do_rotary": 1, "rotary_interleaved": 0, "scale": self.config.head_width**-0.5}
        attended = self.node(
            "GroupQueryAttention", inputs, f"{at}.attended", *presents, domain=CONTRIBUTED, **heads, **rotary
        )
        x = self.node(
            "Add", [x, self.matmul(attended, f"{at}.wo", attention.wo.weight, f"{at}.wo/out")], f"{at}.middle"
        )
        seen = self.norm(x, f"{at}.feed_forward_norm", block.feed_forward_norm.weight)
        gate = self.matmul(seen, f"{at}.w1", mixer.w1.weight, f"{at}.w1/out")
        up = self.matmul(seen, f"{at}.w3", mixer.w3.weight, f"{at}.w3/out")
        silu = self.node("Mul", [gate, self.node("Sigmoid", [gate], f"{at}.sigmoid")], f"{at}.silu")
        inner = self.node("Mul", [silu, up], f"{at}.inner")
        return self.node("Add", [x, self.matmul(inner, f"{at}.w2", mixer.w2.weight, f"{at}.w2/out")], f"{at}.out")

    def move_weights(self, path: Path) -> None:
        """Put the bytes of large weights into the file `path`."""
        from onnx.external_data_helper import set_external_data

        with replacing(path) as temporary, temporary.open("wb") as file:
            for weight in self.weights:
                if len(weight.raw_data) < ALIGNED:
                    continue
                file.write(b"\0" * (-file.tell() % ALIGNED))
                offset, length = file.tell(), file.write(weight.raw_data)
                set_external_data(weight, DATA, offset, length)
                weight.ClearField("raw_data")

    def proto(self) -> onnx.ModelProto:
        from onnx import TensorProto, helper

        def value(name: str, kind: int, *shape: str | int) -> Any:
            return helper.make_tensor_value_info(name, kind, shape)

        K, h = self.config.kv_heads, self.config.head_width
        ids = [
            value(name, TensorProto.INT64, "batch", length)
            for name, length in (("input_ids", "new"), ("attention_mask", "total"))
        ]
        logits = value("logits", TensorProto.FLOAT, "batch", "new", self.config.vocabulary)
        each = [(layer, part) for layer in range(self.config.layers) for part in ("key", "value")]
        past = [value(f"past_key_values.{i}.{part}", TensorProto.FLOAT, "batch", K, "past", h) for i, part in each]
        present = [value(f"present.{i}.{part}", TensorProto.FLOAT, "batch", K, "total", h) for i, part in each]
        graph = helper.make_graph(self.nodes, "llama", [*ids, *past], [logits, *present], self.weights)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIBUTED, 1)]
        return helper.make_model(graph, opset_imports=opsets, producer_name="ayllu", ir_version=10)


def _rotation(config: ModelConfig) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of every position, (context, h/2)."""
    angles = np.outer(np.arange(config.context), np.array(inverse_frequencies(config)))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _blocks(weight_NK: Tensor, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Bytes (N, blocks, bytes of a block) and float32 scales (N · blocks) of `MatMulNBits`, without zero points."""
    N, K = weight_NK.shape
    groups = weight_NK.reshape(-1, BLOCK)
    if bits == 8:
        scales = groups.abs().amax(-1) / 127
        ints = (groups * inverse(scales)[:, None]).round() + 128
        return ints.to(torch.uint8).numpy().reshape(N, K // BLOCK, BLOCK), scales.numpy()
    scales = fit_scale(groups, torch.ones_like(groups), FOUR)
    halves = (FOUR.nearest(groups * inverse(scales)[:, None]) + 8).to(torch.uint8).numpy()
    return (halves[:, ::2] | halves[:, 1::2] << 4).reshape(N, K // BLOCK, BLOCK // 2), scales.numpy()
