"""Hugging Face folders: what transformers reads is what we wrote, and the reverse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from ayllu.model.config import ModelConfig, RopeScaling
from ayllu.model.files import hf
from ayllu.model.files.hf_config import from_json
from ayllu.model.presets import PRESETS
from ayllu.model.sample import in_type
from ayllu.text.chat import Message, render
from support.models import SHAPES, WIDER, same_bits, tiny_model


@pytest.mark.parametrize("shape", SHAPES)
def test_transformers_computes_the_same_logits(weights, shape):
    folder, model = weights(shape)
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.randint(0, model.config.vocabulary, (2, 200), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        difference = (model(ids) - theirs(ids).logits).abs().max()
    assert difference < 1e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_saved_loads_bit_by_bit(weights, shape):
    folder, model = weights(shape)
    assert same_bits(hf.load(folder), model)


@pytest.mark.parametrize("shape", SHAPES)
def test_matrices_may_have_a_type_of_their_own(weights, shape):
    """As if the whole had been read and the matrices been cast, and it never held both."""
    folder, model = weights(shape)
    loaded = hf.load(folder, matrices=torch.bfloat16)
    assert same_bits(loaded, in_type(model, torch.bfloat16))
    assert {weight.dtype for weight in loaded.parameters() if weight.ndim == 1} == {torch.float32}
    assert (loaded.output.weight is loaded.embedding.weight) == model.config.tied


def test_what_is_read_some_tensors_at_a_time_is_the_same(weights, monkeypatch):
    """However little of a file is mapped at once, and where one tensor alone is more."""
    folder, model = weights("untied")
    opened = []
    monkeypatch.setattr(hf, "safe_open", lambda *given, **named: opened.append(given) or safe_open(*given, **named))
    for numbers in (1, 5_000):
        monkeypatch.setattr(hf, "MAPPED", numbers)
        assert same_bits(hf.load(folder), model)
    assert len(opened) > len(dict(model.named_parameters()))


def test_a_tied_model_stores_its_embedding_once_and_stays_tied(weights):
    folder, _ = weights("tied")
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    model = hf.load(folder)
    assert model.output.weight is model.embedding.weight


def test_a_needless_lm_head_is_ignored_and_a_contradicting_one_refused(weights):
    folder, model = weights("tied")
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, folder / "model.safetensors")
    assert same_bits(hf.load(folder), model)
    tensors["lm_head.weight"][3, 3] += 1
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"lm_head\.weight differs"):
        hf.load(folder)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_folders_load_in_float32_and_back_without_loss(weights, dtype, tmp_path):
    folder, _ = weights("untied", dtype)
    model = hf.load(folder)
    assert model.embedding.weight.dtype == torch.float32
    hf.save(tmp_path / "again", model, dtype=dtype)
    first, second = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "again"))
    assert all(torch.equal(first[name], second[name]) and first[name].dtype == dtype for name in first)


def test_large_weights_are_split_and_read_by_both(weights, tmp_path, monkeypatch):
    _, model = weights("untied")
    monkeypatch.setattr(hf, "SHARD_BYTES", 100_000)
    hf.save(tmp_path / "split", model)
    assert len(list((tmp_path / "split").glob("model-*-of-*.safetensors"))) > 2
    assert same_bits(hf.load(tmp_path / "split"), model)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "split")
    assert torch.equal(theirs.model.layers[1].mlp.up_proj.weight, model.blocks[1].feed_forward.w3.weight)


@pytest.mark.parametrize("tied", [True, False])
def test_a_folder_that_transformers_wrote_loads(tmp_path, tied):
    rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        intermediate_size=96,
        max_position_embeddings=128,
        rope_parameters=rope | {"original_max_position_embeddings": 32},
        tie_word_embeddings=tied,
    )
    theirs = LlamaForCausalLM(config)
    theirs.save_pretrained(tmp_path, max_shard_size="100KB")
    model = hf.load(tmp_path)
    ids = torch.arange(120)[None]
    with torch.no_grad():
        assert (model(ids) - theirs(ids).logits).abs().max() < 1e-4


def test_the_older_spelling_of_rotary_settings_means_the_same():
    fields = hf.to_json(SHAPES["scaled"], torch.float32)
    del fields["rope_parameters"]
    assert from_json(fields) == SHAPES["scaled"]
    fields["rope_scaling"]["type"] = fields["rope_scaling"].pop("rope_type")
    assert from_json(fields) == SHAPES["scaled"]


@given(
    st.builds(
        ModelConfig,
        vocabulary=st.integers(1, 200_000),
        layers=st.integers(1, 200),
        width=st.just(48),
        heads=st.sampled_from([4, 8]),
        kv_heads=st.sampled_from([1, 2, 4]),
        feed_forward=st.integers(1, 10_000),
        head_width=st.sampled_from([0, 2, 64]),
        context=st.integers(1, 1_000_000),
        rope_theta=st.floats(1, 1e7),
        rope_scaling=st.none()
        | st.builds(RopeScaling, factor=st.floats(1, 64), original_context=st.integers(1, 2**20)),
        norm_epsilon=st.floats(1e-8, 1e-3),
        tied=st.booleans(),
    )
)
def test_every_configuration_survives_its_file(config):
    assert from_json(json.loads(json.dumps(hf.to_json(config, torch.float32)))) == config


def test_published_shapes_survive_their_file():
    for config in PRESETS.values():
        assert from_json(hf.to_json(config, torch.bfloat16)) == config


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("attention_bias", True, "attention_bias"),
        ("hidden_act", "gelu", "hidden_act"),
        ("model_type", "qwen3", "'qwen3'"),
        ("quantization_config", {"quant_method": "gptq"}, "quantization_config"),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1e4}, "'yarn'"),
        ("hidden_size", "many", "cannot be used: invalid literal"),
        ("num_key_value_heads", 3, "multiple of kv_heads"),
    ],
)
def test_what_the_architecture_lacks_is_refused_in_one_sentence(weights, setting, value, sentence):
    folder, _ = weights()
    fields = json.loads((folder / "config.json").read_text()) | {setting: value}
    (folder / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=sentence) as problem:
        hf.load(folder)
    assert "\n" not in str(problem.value)


def test_damaged_folders_are_named(weights, tmp_path):
    with pytest.raises(ValueError, match=r"config\.json does not exist"):
        hf.load(tmp_path / "nowhere")
    folder, _ = weights()
    tensors = load_file(folder / "model.safetensors")
    for damage, sentence in (
        ({"model.norm.weight": None}, r"lacks the weights norm\.weight"),
        ({"model.norm.weight": torch.ones(3)}, r"norm\.weight has the shape \(3,\)"),
        ({"model.layers.0.self_attn.q_proj.bias": torch.ones(64)}, "not part of the Llama architecture"),
    ):
        damaged = {name: values for name, values in (tensors | damage).items() if values is not None}
        save_file(damaged, folder / "model.safetensors")
        with pytest.raises(ValueError, match=sentence):
            hf.load(folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        hf.load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"neither model\.safetensors nor"):
        hf.load(folder)


def test_an_index_cannot_lead_out_of_its_folder(weights):
    folder, _ = weights()
    outside = folder.parent / "outside.safetensors"
    (folder / "model.safetensors").rename(outside)
    (folder / hf.INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": "../outside.safetensors"}}))
    with pytest.raises(ValueError, match="not in"):
        hf.load(folder)


def test_a_failed_save_leaves_the_old_file(weights, monkeypatch):
    folder, model = weights()

    def fail(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(hf, "save_file", fail)
    with pytest.raises(OSError, match="no space"):
        hf.save(folder, tiny_model(WIDER, seed=9))
    monkeypatch.undo()
    assert same_bits(hf.load(folder), model)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_the_chat_template_gives_the_same_ids_with_one_bos(weights, tokenizer):
    folder, _ = weights()
    theirs = AutoTokenizer.from_pretrained(folder)
    turns = [
        {"role": "system", "content": "  You are a llama. "},
        {"role": "user", "content": "Who'd carry 1781 bags?\n\nÑusta!"},
        {"role": "assistant", "content": "She would."},
        {"role": "user", "content": "Why?"},
    ]
    ids = theirs.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
    assert ids == render([Message(**turn) for turn in turns], tokenizer)
    assert ids.count(tokenizer.bos) == 1


def test_transformers_stops_at_either_stop(weights, tokenizer):
    folder, _ = weights()
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    prompt = torch.tensor([[tokenizer.bos, 40, 41]])
    for stop in (tokenizer.eos, tokenizer.eot):
        out = theirs.generate(prompt, max_new_tokens=8, do_sample=False, sequence_bias={(stop,): 1e4})
        assert out[0].tolist() == [tokenizer.bos, 40, 41, stop]


def test_the_same_weights_are_the_same_bytes_for_their_files_have_one_entry_of_metadata(tmp_path: Path) -> None:
    """safetensors writes several entries in an order of chance, and a digest of such a file says nothing."""
    files = []
    for number in range(8):
        hf.save(tmp_path / str(number), tiny_model())
        files.append((tmp_path / str(number) / "model.safetensors").read_bytes())
    length = int.from_bytes(files[0][:8], "little")
    assert len(json.loads(files[0][8 : 8 + length])["__metadata__"]) == 1
    assert len({*files}) == 1
