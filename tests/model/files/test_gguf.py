"""GGUF files: llama.cpp reads what we write, and we read what llama.cpp's own tools write."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, quants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

from ayllu.model.config import RopeScaling
from ayllu.model.files import gguf, gguf_fields, hf
from ayllu.model.files.vocabulary import pre_tokenizer_name, read_vocabulary, write_vocabulary
from ayllu.model.files.weights import to_halves, to_neighbours
from ayllu.model.generate import generate
from ayllu.model.presets import PRESETS
from ayllu.text.chat import Message, render
from ayllu.text.tokenizer import Tokenizer
from support.models import SHAPES, same_bits, tiny_model
from support.serving.llama_cpp import LlamaCpp
from support.texts import ENGLISH

TURNS = [
    {"role": "system", "content": "You are a llama."},
    {"role": "user", "content": "Who'd carry 1781 bags over   the hills?\n\nÑusta! 🦙 日本"},
]


@pytest.fixture
def open_gguf() -> Iterator[Callable[[Path], LlamaCpp]]:
    servers: list[LlamaCpp] = []

    def open_one(path: Path) -> LlamaCpp:
        servers.append(LlamaCpp(path))
        return servers[-1]

    yield open_one
    for server in servers:
        server.close()


@pytest.mark.parametrize("dtype", ["F32", "F16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_llama_cpp_continues_a_text_as_we_do(weights, open_gguf, tokenizer, shape, dtype):
    folder, model = weights(shape)
    # Logits of zero keep a random model from stopping before the 64 tokens are full.
    for row in tokenizer.stops:
        model.output.weight.data[row] = 0
    file = folder / "model.gguf"
    gguf.write(file, model, folder, dtype=dtype, name="test")
    if dtype == "F16":
        model = gguf.read(file).model
    prompt = list(range(20, 60))
    answer = open_gguf(file).post("/completion", prompt=prompt, n_predict=64, temperature=0, return_tokens=True)
    assert len(answer["tokens"]) == 64
    assert answer["tokens"] == list(generate(model, prompt, tokens=64))


def test_three_tokenizers_agree_on_template_and_text_with_one_bos(weights, open_gguf, tokenizer):
    folder, model = weights()
    gguf.write(folder / "model.gguf", model, folder, dtype="F32", name="test")
    llama = open_gguf(folder / "model.gguf")
    ours = render([Message(**turn) for turn in TURNS], tokenizer)
    theirs = AutoTokenizer.from_pretrained(folder).apply_chat_template(TURNS, add_generation_prompt=True)["input_ids"]
    text = llama.post("/apply-template", messages=TURNS)["prompt"]
    third = llama.post("/tokenize", content=text, add_special=True, parse_special=True)["tokens"]
    assert ours == theirs == third
    assert third.count(tokenizer.bos) == 1
    chat = llama.post("/v1/chat/completions", messages=TURNS, max_tokens=1)
    assert chat["usage"]["prompt_tokens"] == len(ours)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60))
def test_llama_cpp_cuts_any_text_as_we_do(served, text):
    llama, tokenizer = served
    assert llama.post("/tokenize", content=text, parse_special=False)["tokens"] == tokenizer.encode(text)


@pytest.fixture(scope="module")
def served(tmp_path_factory, tokenizer) -> Iterator[tuple[LlamaCpp, Tokenizer]]:
    folder = tmp_path_factory.mktemp("served")
    tokenizer.save(folder)
    model = tiny_model(replace(SHAPES["tied"], vocabulary=tokenizer.size))
    gguf.write(folder / "model.gguf", model, folder, dtype="F32", name="test")
    llama = LlamaCpp(folder / "model.gguf")
    yield llama, tokenizer
    llama.close()


def test_llama_cpp_stops_at_either_stop(served):
    llama, tokenizer = served
    for stop in (tokenizer.eos, tokenizer.eot):
        answer = llama.post("/completion", prompt=[5, 6], n_predict=8, temperature=0, logit_bias=[[stop, 1000.0]])
        assert answer["stop_type"] == "eos"
        assert answer["content"] == ""


@pytest.mark.parametrize("shape", SHAPES)
def test_hugging_face_to_gguf_to_hugging_face_keeps_every_bit(weights, shape, tmp_path, tokenizer):
    folder, model = weights(shape)
    gguf.write(tmp_path / "one.gguf", hf.load(folder), folder, dtype="F32", name="test", licence="apache-2.0")
    contents = gguf.read(tmp_path / "one.gguf")
    assert same_bits(contents.model, model)
    assert (contents.name, contents.licence) == ("test", "apache-2.0")
    hf.save(tmp_path / "back", contents.model)
    write_vocabulary(tmp_path / "back", contents.vocabulary)
    weights_files = [path / "model.safetensors" for path in (folder, tmp_path / "back")]
    assert weights_files[0].read_bytes() == weights_files[1].read_bytes()
    assert read_vocabulary(tmp_path / "back", tokenizer.size) == contents.vocabulary
    again = Tokenizer.load(tmp_path / "back")
    for text in ("Who'd carry 1781 bags?\n\n Ñusta!", "🦙 日本語   \t"):
        assert again.encode(text) == tokenizer.encode(text)
    assert again.special == tokenizer.special


@pytest.mark.parametrize(("dtype", "error"), [("BF16", 2**-8), ("F16", 2**-11), ("Q8_0", 2**-6), ("Q4_0", 2**-3)])
def test_smaller_types_come_back_within_their_precision(weights, dtype, error, tmp_path):
    folder, model = weights("untied")
    gguf.write(tmp_path / "small.gguf", model, folder, dtype=dtype, name="test")
    back = gguf.read(tmp_path / "small.gguf").model.state_dict()
    for name, values in model.state_dict().items():
        bound = min(error, 2**-6) if name.startswith(("embedding", "output")) else error
        assert (back[name] - values).abs().max() <= bound * values.abs().max()
    assert torch.equal(back["norm.weight"], model.norm.weight)


@pytest.mark.parametrize(
    "kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"]
)
def test_quantized_matrices_are_dequantized_and_their_rows_put_back(weights, kind, tmp_path, monkeypatch):
    """The bytes are arbitrary; they must come back as the gguf package reads them."""
    folder, _ = weights()
    model = tiny_model(replace(SHAPES["untied"], width=256, head_width=64, feed_forward=256))
    kind = GGMLQuantizationType[kind]
    random = np.random.default_rng(0)
    written = {}

    def quantized(values: torch.Tensor, given_kind: GGMLQuantizationType, name: str, _: Any) -> np.ndarray:
        if given_kind is GGMLQuantizationType.F32:
            return values.numpy()
        # Bytes below 0x40 keep every float16 inside a block finite.
        raw = random.integers(0, 0x40, quants.quant_shape_to_byte_shape(tuple(values.shape), kind), dtype=np.uint8)
        written[name] = torch.from_numpy(quants.dequantize(raw, kind))
        return raw

    monkeypatch.setattr(gguf, "_type", lambda tensor, *_: kind if tensor.dim() == 2 else GGMLQuantizationType.F32)
    monkeypatch.setattr(gguf, "_converted", quantized)
    gguf.write(tmp_path / "quantized.gguf", model, folder, name="test")
    back = gguf.read(tmp_path / "quantized.gguf").model.state_dict()
    for name, values in written.items():
        heads = 4 if name.endswith("wq.weight") else 2 if name.endswith("wk.weight") else None
        assert torch.equal(back[name], to_halves(values, heads) if heads else values)


@given(heads=st.integers(1, 8), half=st.integers(1, 16), columns=st.integers(1, 5))
def test_the_two_orders_of_rotary_features_are_inverse(heads, half, columns):
    weight = torch.arange(heads * half * 2 * columns).reshape(-1, columns)
    neighbours = to_neighbours(weight, heads)
    assert torch.equal(to_halves(neighbours, heads), weight)
    assert torch.equal(neighbours[1], weight[half])


@pytest.mark.parametrize("name", PRESETS)
def test_scaling_is_recognised_from_its_frequencies(name):
    config = PRESETS[name]
    factors = gguf.rope_factors(config)
    assert factors is not None
    assert factors[0] == 1 and factors[-1] == config.rope_scaling.factor
    assert gguf.scaling_of(config, factors) == config.rope_scaling


def test_a_tokenizer_of_another_family_keeps_its_ids(tmp_path, open_gguf):
    """SmolLM2's: special tokens come first, digits stand alone, and no BOS is added."""
    engine = Engine(models.BPE())
    digits, letters = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.pre_tokenizer = pre_tokenizers.Sequence([digits, letters])
    engine.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    engine.train_from_iterator(ENGLISH, trainer)
    engine.save(str(tmp_path / "tokenizer.json"))
    names = {
        "bos_token": special[1],
        "eos_token": {"content": special[2]},
        "chat_template": "{{ messages[0].content }}",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(names))
    model = tiny_model(replace(SHAPES["tied"], vocabulary=engine.get_vocab_size()))
    gguf.write(tmp_path / "smol.gguf", model, tmp_path, dtype="F32", name="smol")
    vocabulary = gguf.read(tmp_path / "smol.gguf").vocabulary
    assert (vocabulary.pre, vocabulary.bos, vocabulary.eos, vocabulary.adds_bos) == ("smollm", 1, 2, False)
    (tmp_path / "back").mkdir()
    write_vocabulary(tmp_path / "back", vocabulary)
    again = Engine.from_file(str(tmp_path / "back" / "tokenizer.json"))
    llama = open_gguf(tmp_path / "smol.gguf")
    for text in ("<|im_start|>The llama's 1781 bags<|im_end|>", "Ñusta 🦙\n\n  x"):
        ids = engine.encode(text).ids
        assert again.encode(text).ids == ids
        assert llama.post("/tokenize", content=text, add_special=True, parse_special=True)["tokens"] == ids


def test_other_scalings_are_refused():
    config = replace(SHAPES["scaled"], rope_scaling=RopeScaling(high_frequency_factor=2.0, original_context=48))
    with pytest.raises(ValueError, match=r"not Llama 3\.1's"):
        gguf.scaling_of(config, gguf.rope_factors(config))


def test_the_end_of_the_turn_is_the_stop_of_a_chat_model(weights, tokenizer):
    folder, _ = weights()
    assert read_vocabulary(folder, tokenizer.size).eos == tokenizer.eot
    for file in ("chat_template.jinja", "tokenizer_config.json"):
        (folder / file).unlink()
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}')
    assert read_vocabulary(folder, tokenizer.size).eos == tokenizer.eos


def test_a_larger_embedding_is_filled_with_unused_tokens(weights, tokenizer):
    folder, _ = weights()
    vocabulary = read_vocabulary(folder, tokenizer.size + 40)
    assert len(set(vocabulary.tokens)) == tokenizer.size + 40
    assert list(vocabulary.kinds[tokenizer.size :]) == [5] * 40
    with pytest.raises(ValueError, match=f"ends at {tokenizer.size - 2}"):
        read_vocabulary(folder, tokenizer.size - 1)


def test_a_tokenizer_that_llama_cpp_would_cut_differently_is_refused(weights, tmp_path):
    folder, model = weights()
    fields = json.loads((folder / "tokenizer.json").read_text())
    fields["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\s+"
    (folder / "tokenizer.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match="no name for"):
        gguf.write(tmp_path / "x.gguf", model, folder, name="test")
    assert not list(tmp_path.glob("*.gguf"))


def test_known_ways_of_cutting_have_their_names():
    smollm = [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "add_prefix_space": False}]
    assert pre_tokenizer_name({"type": "Sequence", "pretokenizers": smollm}, False, "x") == "smollm"
    assert pre_tokenizer_name({"type": "ByteLevel", "use_regex": True}, False, "x") == "gpt-2"
    with pytest.raises(ValueError, match="puts a space"):
        pre_tokenizer_name({"type": "ByteLevel", "add_prefix_space": True}, False, "x")


def test_values_beyond_half_precision_stop_the_writing(weights, tmp_path):
    folder, model = weights()
    model.blocks[0].feed_forward.w1.weight.data[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"w1.weight has values beyond the range of F16"):
        gguf.write(tmp_path / "out" / "x.gguf", model, folder, dtype="F16", name="test")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("dtype", "value", "said"),
    [
        ("Q8_0", 1e8, r"beyond the range of Q8_0 \(8319008\)"),
        ("Q4_0", -6e5, r"beyond the range of Q4_0 \(524032\)"),
        ("BF16", 3.4e38, "beyond the range of BF16"),
        ("Q8_0", float("nan"), "no finite numbers"),
        ("F32", float("inf"), "no finite numbers"),
    ],
)
def test_no_file_holds_values_that_its_type_made_infinite(weights, tmp_path, dtype, value, said):
    folder, model = weights("tied")
    model.blocks[0].feed_forward.w1.weight.data[3, 5] = value
    with pytest.raises(ValueError, match=said):
        gguf.write(tmp_path / "x.gguf", model, folder, dtype=dtype, name="x")
    assert not (tmp_path / "x.gguf").exists()


def rewritten(source: Path, file: Path, key: str, value: Any, kind: GGUFValueType) -> None:
    """A copy of a GGUF file, one field of which says something else."""
    reader, writer = GGUFReader(source), GGUFWriter(file, "llama")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", key):
            continue
        if field.types[0] == GGUFValueType.ARRAY:
            writer.add_array(name, field.contents())
        else:
            writer.add_key_value(name, field.contents(), field.types[0])
    if kind == GGUFValueType.ARRAY:
        writer.add_array(key, value)
    else:
        writer.add_key_value(key, value, kind)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("key", "value", "kind", "said"),
    [
        ("llama.attention.head_count", 0, GGUFValueType.UINT32, "heads is 0"),
        ("llama.block_count", "two", GGUFValueType.STRING, "llama.block_count is no whole number"),
        ("llama.rope.freq_base", "x", GGUFValueType.STRING, "llama.rope.freq_base is no number"),
        ("tokenizer.ggml.eos_token_id", [1, 2], GGUFValueType.ARRAY, "eos_token_id is no whole number"),
        ("tokenizer.ggml.tokens", [1, 2], GGUFValueType.ARRAY, "tokens is no list of texts"),
        ("tokenizer.ggml.merges", [1, 2], GGUFValueType.ARRAY, "merges is no list of texts"),
        ("tokenizer.ggml.merges", ["a"], GGUFValueType.ARRAY, "'a', which is no pair of tokens"),
        ("tokenizer.chat_template", 5, GGUFValueType.UINT32, "chat_template is no text"),
        ("general.name", 5, GGUFValueType.UINT32, "general.name is no text"),
    ],
)
def test_a_field_of_another_kind_is_named(weights, tmp_path, key, value, kind, said):
    folder, model = weights("tied")
    gguf.write(tmp_path / "whole.gguf", model, folder, dtype="F32", name="x")
    rewritten(tmp_path / "whole.gguf", tmp_path / "x.gguf", key, value, kind)
    with pytest.raises(ValueError, match=said):
        gguf.read(tmp_path / "x.gguf")


@pytest.mark.parametrize(("begins", "ends"), [(True, False), (False, True), (True, True)])
def test_what_comes_around_a_text_survives_the_file(weights, tmp_path, begins, ends):
    folder, model = weights("tied")
    engine = Engine.from_file(str(folder / "tokenizer.json"))
    first, last = ["<|begin_of_text|>"] * begins, ["<|eot_id|>"] * ends
    named = [(token, engine.token_to_id(token)) for token in (*first, *last)]
    single = [*first, "$A", *last]
    engine.post_processor = processors.TemplateProcessing(single=single, pair="$A $B", special_tokens=named)
    engine.save(str(folder / "tokenizer.json"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "bos_token": None}))
    gguf.write(tmp_path / "x.gguf", model, folder, dtype="F32", name="x")
    vocabulary = gguf.read(tmp_path / "x.gguf").vocabulary
    assert (vocabulary.adds_bos, vocabulary.adds_eos) == (begins, ends)
    (tmp_path / "back").mkdir()
    write_vocabulary(tmp_path / "back", vocabulary)
    back = Engine.from_file(str(tmp_path / "back" / "tokenizer.json"))
    assert back.encode("Hi there").ids == engine.encode("Hi there").ids


def test_lists_that_no_vocabulary_has_are_refused_before_they_are_read(tmp_path):
    count = 3_000_000
    field = struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 0, count) + bytes(count)
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + field)
    with pytest.raises(ValueError, match="more than 2,097,152 entries"):
        gguf.read(tmp_path / "x.gguf")


def split_as_gguf_split_does(whole: Path, base: Path, tensors: int) -> list[Path]:
    """The same fields and tensors over several files, by the gguf package's own writer."""
    reader = GGUFReader(whole)
    writer = GGUFWriter(base, "llama", split_max_tensors=tensors)
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            kind, inner = field.types[0], field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), kind, inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(base.parent.glob("split-*.gguf"))


def test_a_model_in_several_files_is_one_model(weights, tmp_path):
    folder, model = weights()
    gguf.write(tmp_path / "whole.gguf", model, folder, dtype="F32", name="test")
    files = split_as_gguf_split_does(tmp_path / "whole.gguf", tmp_path / "split.gguf", 8)
    assert len(files) > 2
    assert gguf_fields.parts(files[1]) == files
    for named in (files[0], files[-1]):
        found = gguf.read(named)
        same_bits(found.model, model)
        assert found.vocabulary == gguf.read(tmp_path / "whole.gguf").vocabulary
    files[1].unlink()
    with pytest.raises(ValueError, match=f"{files[1].name} does not exist"):
        gguf.read(files[0])


def test_damaged_files_are_named(weights, tmp_path):
    folder, model = weights()
    file = tmp_path / "x.gguf"
    with pytest.raises(ValueError, match="does not exist"):
        gguf.read(file)
    gguf.write(file, model, folder, dtype="F32", name="test")
    whole = file.read_bytes()
    for damaged in (b"", b"GGUF", whole[:5000], whole[: len(whole) // 2], b"\0" * 4096):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x\.gguf") as problem:
            gguf.read(file)
        assert "\n" not in str(problem.value)


def test_the_file_says_what_it_is(weights, tmp_path):
    folder, model = weights("scaled")
    gguf.write(tmp_path / "x.gguf", model, folder, dtype="Q8_0", name="Cria 1", licence="apache-2.0")
    reader = GGUFReader(tmp_path / "x.gguf")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["blk.0.attn_q.weight"] == "Q8_0" and kinds["output_norm.weight"] == "F32"
    assert "rope_freqs.weight" in kinds and reader.get_field("general.name").contents() == "Cria 1"
