"""What a source says in an older, doubled or hostile way: transformers' and llama.cpp's value, or one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader, GGUFWriter
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from ayllu.model.files import gguf, gguf_fields, hf
from ayllu.model.files.hf_config import from_json
from ayllu.model.files.vocabulary import read_vocabulary
from ayllu.model.frequencies import inverse_frequencies
from support.models import SHAPES, same_bits

LLAMA_3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
FULL = LLAMA_3 | {"original_max_position_embeddings": 64}
SPELLINGS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "base alone": {"rope_theta": 5e5},
    "new": {"rope_parameters": FULL | {"rope_theta": 5e5}},
    "old": {"rope_scaling": FULL, "rope_theta": 5e5},
    "the oldest word": {"rope_scaling": {**FULL, "type": "llama3"}, "rope_theta": 5e5},
    "plain beside scaled": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "rope_scaling": FULL},
    "scaled beside plain": {"rope_parameters": FULL | {"rope_theta": 5e5}, "rope_scaling": {"rope_type": "default"}},
    "two scalings": {"rope_parameters": FULL | {"factor": 2.0}, "rope_scaling": FULL, "rope_theta": 5e5},
    "two bases": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "rope_theta": 1e6},
    "context outside": {"rope_parameters": LLAMA_3, "original_max_position_embeddings": 64, "rope_theta": 5e5},
    "context twice": {"rope_parameters": FULL, "original_max_position_embeddings": 32, "rope_theta": 5e5},
    "no context": {"rope_scaling": LLAMA_3, "rope_theta": 5e5},
}


@pytest.mark.parametrize("what", SPELLINGS)
def test_every_spelling_of_rotary_settings_means_what_it_means_to_transformers(what: str) -> None:
    fields = hf.to_json(SHAPES["wide heads"], torch.float32)
    for name in ("rope_parameters", "rope_scaling", "rope_theta"):
        del fields[name]
    fields = json.loads(json.dumps(fields | SPELLINGS[what]))
    config = from_json(fields)
    theirs = LlamaRotaryEmbedding(LlamaConfig.from_dict(fields)).inv_freq
    assert torch.allclose(torch.tensor(inverse_frequencies(config)), theirs, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}, "'linear'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 4.0}}, "'dynamic'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "in one way"),
        ({"rope_scaling": LLAMA_3 | {"factor": None}}, "cannot be used"),
        ({"rope_scaling": FULL | {"high_freq_factor": 1.0}}, "must be above"),
        ({"rope_theta": float("nan")}, "rope_theta is nan"),
        ({"rope_theta": -5.0}, "rope_theta is -5"),
        ({"rms_norm_eps": float("inf")}, "norm_epsilon is inf"),
        ({"rope_scaling": FULL | {"factor": float("nan")}}, "factor is nan"),
    ],
)
def test_rotary_settings_that_cannot_be_followed_are_refused(changes: dict[str, Any], said: str) -> None:
    fields = hf.to_json(SHAPES["wide heads"], torch.float32) | {"rope_parameters": None, "rope_scaling": None}
    with pytest.raises(ValueError, match=said):
        from_json(fields | changes)


def rewritten(source: Path, target: Path, changes: dict[str, Any]) -> Path:
    """The GGUF file again with other fields; None leaves one out."""
    reader = GGUFReader(source)
    writer = GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture" or field.name in changes:
            continue
        kind, inner = field.types[0], field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, field.contents(), kind, inner)
    for name, value in changes.items():
        if value is not None:
            add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
            add.get(type(value), writer.add_array)(name, value)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.fixture
def whole(weights: Callable[..., Any], tmp_path: Path) -> Path:
    folder, model = weights()
    gguf.write(tmp_path / "whole.gguf", model, folder, dtype="F32", name="test")
    return tmp_path / "whole.gguf"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"llama.rope.scale_linear": 4.0}, "linearly, by 4"),
        ({"llama.rope.scaling.factor": 4.0}, "linearly, by 4"),
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 2.0}, "linearly, by 2"),
        ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 2.0}, "yarn"),
        ({"llama.rope.dimension_count": 8}, "only 8 of the 16 features"),
        ({"llama.attention.value_length": 8}, "values of another width"),
        ({"llama.attention.causal": False}, "later ones"),
        ({"llama.rope.freq_base": float("nan")}, "rope_theta is nan"),
        ({"llama.block_count": 3_000_000}, "asks for 3,000,000 layers"),
        ({"llama.attention.head_count": [4, 4]}, "llama.attention.head_count is no whole number"),
        ({"llama.feed_forward_length": 1 << 30}, "do not belong together"),
        ({"tokenizer.ggml.pre": None}, "does not say how text is cut"),
        ({"tokenizer.ggml.token_type": [1, 1]}, "it is damaged"),
        ({"tokenizer.ggml.eos_token_id": 99_999, "tokenizer.ggml.eot_token_id": None}, None),
    ],
)
def test_gguf_fields_that_cannot_be_followed_are_refused(
    whole: Path, tmp_path: Path, changes: dict[str, Any], said: str | None
) -> None:
    file = rewritten(whole, tmp_path / "changed.gguf", changes)
    if said is None:
        # An id that no token has is passed over, as llama.cpp does: others are named.
        assert gguf.read(file).vocabulary.stops == gguf.read(whole).vocabulary.stops
        return
    with pytest.raises(ValueError, match=said) as problem:
        gguf.read(file)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"llama.rope.scale_linear": 1.0},
        {"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0},
        {"llama.rope.dimension_count": None},
        {"tokenizer.ggml.pre": "llama3"},
    ],
)
def test_gguf_fields_that_change_nothing_are_read(whole: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    found, before = gguf.read(rewritten(whole, tmp_path / "changed.gguf", changes)), gguf.read(whole)
    assert same_bits(found.model, before.model)
    assert found.vocabulary == before.vocabulary


@pytest.mark.parametrize(("at", "size"), [(8, 8), (16, 8)])
def test_counts_beyond_a_gguf_file_are_told_at_once(whole: Path, at: int, size: int) -> None:
    data = bytearray(whole.read_bytes())
    data[at : at + size] = (1 << 30).to_bytes(size, "little")
    whole.write_bytes(data)
    with pytest.raises(ValueError, match="promises more than the file holds"):
        gguf.read(whole)
    key = b"tokenizer.ggml.merges"
    data = bytearray(whole.read_bytes())
    data[8:24] = (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    count = data.index(key) + len(key) + 8
    field = data[data.index(key) - 8 : count] + (1 << 40).to_bytes(8, "little")
    whole.write_bytes(bytes(data[:24]) + bytes(field) + bytes(64))
    with pytest.raises(ValueError, match="its lists have more than 2,097,152 entries, which no vocabulary has"):
        gguf.read(whole)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x.list": [1] * 20_000}, "its lists beside the vocabulary have more than 16,384 entries"),
        ({f"x.{i}": i for i in range(17_000)}, "no model has more than 16,384"),
        ({"tokenizer.ggml.merges": [1] * 20}, "its tokenizer.ggml.merges is no list of texts"),
        ({"tokenizer.ggml.scores": [0.5] * 9_000}, "its tokenizer.ggml.scores is longer than that of its tokens"),
        ({"tokenizer.ggml.tokens": ["a", "b\n", "c", "b\n"]}, r"its ids 1 and 3 are both the token 'b\\n'"),
    ],
)
def test_lists_that_no_vocabulary_has_are_told_before_they_are_read(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    file = rewritten(whole, tmp_path / "changed.gguf", changes)
    monkeypatch.setattr(gguf_fields, "_reader", lambda file: pytest.fail("it was read"))
    with pytest.raises(ValueError, match=said):
        gguf.read(file)


def test_more_layers_than_weights_are_told_at_once(weights: Callable[..., Any]) -> None:
    folder, _ = weights()
    fields = json.loads((folder / "config.json").read_text())
    for changes in ({"num_hidden_layers": 3_000_000}, {"vocab_size": 2**31 - 1}, {"hidden_size": 2**30}):
        (folder / "config.json").write_text(json.dumps(fields | changes))
        with pytest.raises(ValueError, match="do not belong together"):
            hf.load(folder)
    for changes in ({"num_hidden_layers": 10**18}, {"max_position_embeddings": 10**18}, {"head_dim": 2**32}):
        (folder / "config.json").write_text(json.dumps(fields | changes))
        with pytest.raises(ValueError, match="model configuration"):
            hf.load(folder)


def test_a_tied_matrix_counts_under_either_name(weights: Callable[..., Any]) -> None:
    folder, model = weights("tied")
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors.pop("model.embed_tokens.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    loaded = hf.load(folder)
    assert same_bits(loaded, model)
    assert loaded.output.weight is loaded.embedding.weight


def test_the_index_says_which_copy_of_a_weight_counts(weights: Callable[..., Any]) -> None:
    folder, model = weights("untied")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    norm = "model.norm.weight"
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    save_file({norm: tensors[norm]}, folder / first)
    save_file(tensors | {norm: torch.zeros(64, dtype=torch.float16)}, folder / second)
    index = dict.fromkeys(tensors, second) | {norm: first}
    (folder / hf.INDEX).write_text(json.dumps({"weight_map": index}))
    assert same_bits(hf.load(folder), model)
    assert hf.types(folder) == {"F32": len(tensors)}
    index = dict.fromkeys(tensors, f"./{second}") | {norm: f"more/.././{first}"}
    (folder / hf.INDEX).write_text(json.dumps({"weight_map": index}))
    assert same_bits(hf.load(folder), model)
    for outside in (f"../{first}", f"more/../../{first}", f"/{first}"):
        (folder / hf.INDEX).write_text(json.dumps({"weight_map": index | {norm: outside}}))
        with pytest.raises(ValueError, match="which is not in"):
            hf.load(folder)
    del index[norm]
    (folder / hf.INDEX).write_text(json.dumps({"weight_map": index | {"model.embed_tokens.weight": first}}))
    with pytest.raises(ValueError, match=r"norm\.weight twice|which it does not"):
        hf.load(folder)


def test_what_a_gguf_file_cannot_say_of_a_tokenizer_is_refused(weights: Callable[..., Any], tokenizer: Any) -> None:
    folder, _ = weights()
    path = folder / "tokenizer.json"
    fields = json.loads(path.read_text())
    for change, said in (
        ({"normalizer": {"type": "NFC"}}, r"normalizes text \(NFC\)"),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}}, "Lowercase"),
        ({"added_tokens": [token | {"rstrip": True} for token in fields["added_tokens"]]}, "the flag rstrip"),
        ({"model": fields["model"] | {"dropout": 0.1}}, "sets dropout"),
    ):
        path.write_text(json.dumps(fields | change))
        with pytest.raises(ValueError, match=said):
            read_vocabulary(folder, tokenizer.size)
