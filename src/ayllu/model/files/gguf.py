"""GGUF, the single file of llama.cpp: weights, configuration, tokenizer and chat template.

Rows of wq and wk are reordered, since llama.cpp rotates neighbouring features of Llama models; Llama 3.1's scaling of
rotary positions becomes the tensor `rope_freqs.weight`; a tied output projection is left out. Source for all three:
`conversion/llama.py` in llama.cpp.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ayllu.model.config import ModelConfig, RopeScaling
from ayllu.model.files.gguf_fields import Parts, read_field, read_list, read_real, read_text, read_whole
from ayllu.model.files.quantize.blocks import WRITERS, encode
from ayllu.model.files.quantize.types import FILE_TYPES, LARGEST, Type, tensor_type
from ayllu.model.files.vocabulary import KNOWN_ENDS, Kind, Vocabulary, read_vocabulary, stop_slots
from ayllu.model.files.weights import (
    assemble,
    check_layers,
    check_shapes,
    renamed,
    replacing,
    rotary_heads,
    stored,
    to_halves,
    to_neighbours,
)
from ayllu.model.frequencies import inverse_frequencies
from ayllu.model.transformer import Transformer

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

OUTER = {
    "embedding.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "output.weight": "output.weight",
}
INNER = {
    "attention_norm": "attn_norm",
    "attention.wq": "attn_q",
    "attention.wk": "attn_k",
    "attention.wv": "attn_v",
    "attention.wo": "attn_output",
    "feed_forward_norm": "ffn_norm",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w2": "ffn_down",
    "feed_forward.w3": "ffn_up",
}
ROPE_FACTORS = "rope_freqs.weight"
ALL_STOPS = "tokenizer.ggml.eos_token_ids"
"""Ollama's field for every stop; llama.cpp has three places for one each."""
PRE_NAMES = {"llama3": "llama-bpe", "llama-v3": "llama-bpe"}
"""Other names of llama.cpp for the same way of cutting text."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a GGUF file holds."""

    model: Transformer
    vocabulary: Vocabulary
    name: str
    licence: str | None
    types: dict[str, int]
    """How many tensors there are of each type, such as Q4_1."""


def write(
    path: Path,
    model: Transformer,
    tokenizer: Path,
    *,
    dtype: Type = "F16",
    name: str,
    licence: str | None = None,
    importance: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write `model` and the tokenizer of the Hugging Face folder `tokenizer` to `path`; it appears whole or not at all.

    Tensors are converted one at a time; `importance` says by our names of matrices how much each of their columns
    matters to types of few bits. Raises ValueError when llama.cpp has no such tokenizer, or a value is beyond the range
    of `dtype`.
    """
    from gguf import GGUFWriter

    vocabulary = read_vocabulary(tokenizer, model.config.vocabulary)
    names = renamed(model.config, OUTER, INNER, "blk.{}")
    with replacing(path) as temporary:
        writer = GGUFWriter(temporary, "llama")
        try:
            _describe(writer, model.config, dtype, name, licence)
            _add_vocabulary(writer, vocabulary)
            factors = rope_factors(model.config)
            if factors is not None:
                writer.add_tensor_info(ROPE_FACTORS, factors.shape, factors.dtype, factors.nbytes)
            for ours, tensor in stored(model):
                _announce(writer, names[ours], tensor, _type(tensor, dtype, ours, model.config))
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            if factors is not None:
                writer.write_tensor_data(factors)
            for ours, tensor in stored(model):
                heads = rotary_heads(model.config, ours)
                values = tensor.detach().to(device="cpu", dtype=torch.float32)
                values = to_neighbours(values, heads) if heads else values
                kind, matters = _type(tensor, dtype, ours, model.config), (importance or {}).get(ours)
                writer.write_tensor_data(_converted(values, kind, ours, matters))
        finally:
            writer.close()


def _announce(writer: GGUFWriter, name: str, tensor: torch.Tensor, kind: GGMLQuantizationType) -> None:
    """Say in the header that a tensor will come; the writer takes the shape in bytes of types that NumPy lacks."""
    from gguf import quants

    shape = quants.quant_shape_to_byte_shape(tuple(tensor.shape), kind)
    numpy: np.dtype[Any] = np.dtype({"F32": np.float32, "F16": np.float16}.get(kind.name, np.uint8))
    given = shape if numpy == np.uint8 else tuple(tensor.shape)
    writer.add_tensor_info(name, given, numpy, math.prod(shape), raw_dtype=kind)


def _type(tensor: torch.Tensor, dtype: Type, ours: str, config: ModelConfig) -> GGMLQuantizationType:
    """How a tensor is stored."""
    from gguf import GGMLQuantizationType

    if tensor.dim() == 1:
        return GGMLQuantizationType.F32
    return GGMLQuantizationType[
        tensor_type(
            ours,
            tensor.shape[-1],
            dtype,
            layers=config.layers,
            queries_per_key=config.heads // config.kv_heads,
            tied=config.tied,
        )
    ]


def _converted(
    values: torch.Tensor, kind: GGMLQuantizationType, name: str, importance: torch.Tensor | None = None
) -> NDArray[Any]:
    """Raises ValueError for values that are no numbers, or would be none in a file of this type."""
    from gguf import quants

    exact = values.contiguous().numpy()
    if not np.isfinite(exact).all():
        raise ValueError(f"{name} holds values that are no finite numbers (NaN or infinite)")
    largest = float(np.abs(exact).max(initial=0))
    most = LARGEST.get(kind.name, math.inf)
    if largest > most:
        raise ValueError(f"{name} has values beyond the range of {kind.name} ({most:.8g}): {largest:.4g}; write F32")
    if kind.name in WRITERS:
        return encode(values.contiguous(), kind.name, importance)
    return np.ascontiguousarray(quants.quantize(exact, kind))


def _describe(writer: GGUFWriter, config: ModelConfig, dtype: Type, name: str, licence: str | None) -> None:
    from gguf import GGML_QUANT_VERSION, LlamaFileType

    writer.add_type("model")
    writer.add_name(name)
    if licence:
        writer.add_license(licence)
    writer.add_file_type(LlamaFileType[FILE_TYPES[dtype]])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_feed_forward_length(config.feed_forward)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_vocab_size(config.vocabulary)


def _add_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.kinds))
    writer.add_token_merges([" ".join(merge) for merge in vocabulary.merges])
    if vocabulary.bos is not None:
        writer.add_bos_token_id(vocabulary.bos)
    writer.add_eos_token_id(vocabulary.eos)
    turn, message = stop_slots(vocabulary)
    if turn is not None:
        writer.add_eot_token_id(turn)
    if message is not None:
        writer.add_eom_token_id(message)
    if vocabulary.stops:
        writer.add_array(ALL_STOPS, list(vocabulary.stops))
    if vocabulary.pad is not None:
        writer.add_pad_token_id(vocabulary.pad)
    writer.add_add_bos_token(vocabulary.adds_bos)
    if vocabulary.adds_eos:
        writer.add_add_eos_token(True)
    if vocabulary.chat_template:
        writer.add_chat_template(vocabulary.chat_template)
    if vocabulary.named_templates:
        from gguf import Keys

        # The writer's own way takes the names from a set, so that their order differs from run to run.
        writer.add_array(Keys.Tokenizer.CHAT_TEMPLATES, sorted(vocabulary.named_templates))
        for name, template in sorted(vocabulary.named_templates.items()):
            writer.add_string(Keys.Tokenizer.CHAT_TEMPLATE_N.format(name=name), template)


def rope_factors(config: ModelConfig) -> NDArray[np.float32] | None:
    """What llama.cpp divides each rotary frequency by, (h/2,); None without scaling."""
    if config.rope_scaling is None:
        return None
    plain = np.array(inverse_frequencies(replace(config, rope_scaling=None)))
    return (plain / np.array(inverse_frequencies(config))).astype(np.float32)


def scaling_of(config: ModelConfig, factors: NDArray[np.float32]) -> RopeScaling:
    """The settings that give `factors`: the file does not say them. Raises ValueError when Llama 3.1's rule cannot.

    All released models have the frequency factors 1 and 4, so that the largest factor and the original context, a
    power of two, are what must be found.
    """
    if factors.shape != (config.head_width // 2,):
        raise ValueError(f"{ROPE_FACTORS} has {factors.size} factors, the model rotates {config.head_width // 2} pairs")
    for power in range(4, 21):
        scaling = RopeScaling(factor=round(float(factors.max()), 4), original_context=2**power)
        expected = rope_factors(replace(config, rope_scaling=scaling))
        if expected is not None and np.allclose(expected, factors, rtol=1e-5):
            return scaling
    raise ValueError(f"{ROPE_FACTORS} scales rotary positions in a way that is not Llama 3.1's")


def read(path: Path, *, dtype: torch.dtype = torch.float32) -> Contents:
    """The model and tokenizer in `path`, with matrices of every type that the gguf package can dequantize.

    `path` may be any part of a model that is split into several files, which lie beside each other. Raises ValueError
    with one sentence when a file is missing, damaged or not a Llama.
    """
    from gguf import quants

    reader = Parts(path)
    try:
        config, vocabulary = _config(reader, path), _vocabulary(reader, path)
    except (TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"{path} has a field of another kind than Llama models have ({error})") from None
    check_layers(config, len(reader.tensors), str(path))
    ours = {theirs: name for name, theirs in renamed(config, OUTER, INNER, "blk.{}").items()}
    held = [tensor for tensor in reader.tensors if tensor.name != ROPE_FACTORS]
    shapes = {ours.get(tensor.name, tensor.name): tuple(int(n) for n in reversed(tensor.shape)) for tensor in held}
    check_shapes(config, shapes, str(path))
    state: dict[str, torch.Tensor] = {}
    for tensor in held:
        name = ours.get(tensor.name, tensor.name)
        try:
            values = torch.from_numpy(np.array(quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32))
        except (NotImplementedError, ValueError) as error:
            raise ValueError(f"{path}: {tensor.name} cannot be dequantized ({error})") from None
        heads = rotary_heads(config, name)
        if heads:
            values = to_halves(values, heads)
        state[name] = values.to(dtype).contiguous()
    return Contents(
        model=assemble(config, state, str(path)),
        vocabulary=vocabulary,
        name=read_text(reader, path, "general.name") or path.stem,
        licence=read_text(reader, path, "general.license"),
        types=dict(Counter(tensor.tensor_type.name for tensor in reader.tensors)),
    )


def _config(reader: Parts, path: Path) -> ModelConfig:
    architecture = read_field(reader, path, "general.architecture")
    if architecture != "llama":
        raise ValueError(f"{path} holds a {architecture!r} model; only 'llama' can be read")
    if read_field(reader, path, "llama.expert_count", 0):
        raise ValueError(f"{path} holds a mixture of experts, which this architecture does not have")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    width, heads = (
        read_whole(reader, path, "llama.embedding_length"),
        read_whole(reader, path, "llama.attention.head_count"),
    )
    embedding = tensors.get(OUTER["embedding.weight"])
    if embedding is None:
        raise ValueError(f"{path} lacks {OUTER['embedding.weight']}; the file is incomplete")
    config = ModelConfig(
        vocabulary=int(embedding.shape[1]),
        layers=read_whole(reader, path, "llama.block_count"),
        width=width,
        heads=heads,
        kv_heads=read_whole(reader, path, "llama.attention.head_count_kv", heads),
        feed_forward=read_whole(reader, path, "llama.feed_forward_length"),
        head_width=read_whole(reader, path, "llama.attention.key_length", width // max(1, heads)),
        context=read_whole(reader, path, "llama.context_length"),
        rope_theta=_short(read_real(reader, path, "llama.rope.freq_base", 10_000.0)),
        norm_epsilon=_short(read_real(reader, path, "llama.attention.layer_norm_rms_epsilon")),
        tied=OUTER["output.weight"] not in tensors,
    )
    _check_rotation(reader, path, config.head_width)
    if ROPE_FACTORS not in tensors:
        return config
    return replace(config, rope_scaling=scaling_of(config, np.array(tensors[ROPE_FACTORS].data, dtype=np.float32)))


def _check_rotation(reader: Parts, path: Path, head_width: int) -> None:
    """Raises ValueError where positions or heads are not as here, in any of the spellings that llama.cpp reads.

    Source: `load_hparams` in llama-model.cpp. A factor without a type means linear scaling.
    """
    method = read_field(reader, path, "llama.rope.scaling.type", "linear")
    older = read_real(reader, path, "llama.rope.scale_linear", 0)
    factor = read_real(reader, path, "llama.rope.scaling.factor", older) or 1
    if method not in ("none", "linear"):
        raise ValueError(f"{path} scales rotary positions by a method that is not Llama 3.1's ({method})")
    if method == "linear" and factor != 1:
        raise ValueError(f"{path} scales all rotary positions linearly, by {factor:g}, which is not Llama 3.1's method")
    rotated = read_whole(reader, path, "llama.rope.dimension_count", head_width)
    if rotated != head_width:
        raise ValueError(f"{path} rotates only {rotated} of the {head_width} features of a head")
    if read_whole(reader, path, "llama.attention.value_length", head_width) != head_width:
        raise ValueError(f"{path} has values of another width than keys, which this architecture does not have")
    if not read_field(reader, path, "llama.attention.causal", True):
        raise ValueError(f"{path} lets positions see later ones, which this architecture does not do")


def _short(value: float) -> float:
    """The shortest decimal that is the same float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _vocabulary(reader: Parts, path: Path) -> Vocabulary:
    if read_field(reader, path, "tokenizer.ggml.model") != "gpt2":
        raise ValueError(f"{path} holds a tokenizer that is not byte-level BPE, which Llama 3 models have")
    tokens = read_list(reader, path, "tokenizer.ggml.tokens", str)
    kinds = read_list(reader, path, "tokenizer.ggml.token_type", int, [int(Kind.NORMAL)] * len(tokens))
    if len(kinds) != len(tokens):
        raise ValueError(f"{path} has {len(tokens)} tokens and the types of {len(kinds)}; it is damaged")
    pre = read_text(reader, path, "tokenizer.ggml.pre")
    if not pre:
        raise ValueError(
            f"{path} does not say how text is cut (tokenizer.ggml.pre), and readers differ over it: convert the model "
            "again with a newer llama.cpp, or adopt its Hugging Face folder"
        )
    pre = PRE_NAMES.get(pre, pre)
    template = read_text(reader, path, "tokenizer.chat_template")
    stops = _stops(reader, path, tokens, kinds, chat=bool(template))
    if not stops:
        raise ValueError(f"{path} names no token that ends a text (tokenizer.ggml.eos_token_id)")
    eos = _token_id(reader, path, "eos", len(tokens))
    return Vocabulary(
        tokens=tokens,
        kinds=kinds,
        merges=_merges(reader, path),
        pre=str(pre),
        bos=_token_id(reader, path, "bos", len(tokens)),
        eos=next(iter(stops)) if eos is None else eos,
        adds_bos=bool(read_field(reader, path, "tokenizer.ggml.add_bos_token", pre == "llama-bpe")),
        adds_eos=bool(read_field(reader, path, "tokenizer.ggml.add_eos_token", False)),
        stops=tuple(sorted(stops)),
        pad=_token_id(reader, path, "padding", len(tokens)),
        chat_template=template,
        named_templates=_named_templates(reader, path),
        stop_origins=stops,
    )


def _stops(
    reader: Parts, path: Path, tokens: list[str], kinds: list[int], *, chat: bool
) -> Mapping[int, tuple[str, ...]]:
    """Every id that ends a reply and what says so: the fields, and in a chat model the names that llama.cpp knows."""
    found: dict[int, tuple[str, ...]] = {}
    for name in ("eos", "eot", "eom"):
        number = _token_id(reader, path, name, len(tokens))
        if number is not None:
            found[number] = (*found.get(number, ()), f"tokenizer.ggml.{name}_token_id")
    listed = read_list(reader, path, ALL_STOPS, int, [])
    for number in listed:
        if 0 <= number < len(tokens):
            found[number] = (*found.get(number, ()), ALL_STOPS)
    if not listed and chat:
        for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True)):
            if number not in found and token in KNOWN_ENDS and kind in (Kind.CONTROL, Kind.USER_DEFINED):
                found[number] = ("llama.cpp, by its name",)
    return found


def _token_id(reader: Parts, path: Path, name: str, size: int) -> int | None:
    """A special token's id; None where the file names none of the vocabulary, which llama.cpp passes over too."""
    number = read_whole(reader, path, f"tokenizer.ggml.{name}_token_id", -1)
    return number if 0 <= number < size else None


def _merges(reader: Parts, path: Path) -> list[tuple[str, str]]:
    found = [merge.split(" ", 1) for merge in read_list(reader, path, "tokenizer.ggml.merges", str)]
    if strange := next((merge for merge in found if len(merge) != 2), None):
        raise ValueError(f"{path}: tokenizer.ggml.merges holds {strange[0]!r}, which is no pair of tokens")
    return [(left, right) for left, right in found]


def _named_templates(reader: Parts, path: Path) -> dict[str, str]:
    from gguf import Keys

    names = [str(name) for name in read_field(reader, path, Keys.Tokenizer.CHAT_TEMPLATES, None) or ()]
    if strange := next((name for name in names if not re.fullmatch(r"[\w-]{1,64}", name)), None):
        raise ValueError(f"{path} names a chat template {strange!r}, which can be no name of a file")
    keys = {name: Keys.Tokenizer.CHAT_TEMPLATE_N.format(name=name) for name in names}
    found = {name: read_field(reader, path, key, None) for name, key in keys.items()}
    return {name: template for name, template in found.items() if name != "default" and isinstance(template, str)}
