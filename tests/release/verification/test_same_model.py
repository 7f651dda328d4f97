"""One release, one model: the GGUF file is the weights' own, and only files of a release are in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import ec
from safetensors.torch import load_file, save_file

from ayllu.model.config import RopeScaling
from ayllu.model.files import gguf, hf
from ayllu.model.files.hf_config import load_config
from ayllu.release import sign, standalone
from ayllu.release.build import build_release
from ayllu.release.digest import read_header
from ayllu.release.files.contents import MANIFEST
from ayllu.release.files.gguf_file import open_gguf
from ayllu.release.files.same_model import gguf_problems
from ayllu.release.gates import GATES
from ayllu.release.verify import verify_release
from support.models import TINY, save_tiny_model
from support.release import edit, list_again, seal_again, sign_again


def problems(folder: Path) -> list[str]:
    return [str(problem) for problem in verify_release(folder).problems]


def rewrite(change: Callable[[Path], None], dtype: str = "F32", scale: float = 1.0) -> Callable[[Path], None]:
    """Writes the GGUF file again, after `change` to a copy of the release and `scale` of one of its tensors."""

    def harm(folder: Path) -> None:
        copy = Path(shutil.copytree(folder, folder.with_name("copy")))
        change(copy)
        model = hf.load(copy)
        with torch.no_grad():
            model.blocks[0].attention.wk.weight.mul_(scale)
        gguf.write(folder / "cria.gguf", model, copy, dtype=dtype, name="cria", licence="apache-2.0")

    return harm


def other_template(folder: Path) -> None:
    text = (folder / "chat_template.jinja").read_text() + " "
    (folder / "chat_template.jinja").write_text(text)
    edit(folder / "tokenizer_config.json", lambda settings: settings.update(chat_template=text))


def other_tokens(folder: Path) -> None:
    def swap(fields: dict) -> None:
        vocab = fields["model"]["vocab"]
        vocab["a"], vocab["b"] = vocab["b"], vocab["a"]

    edit(folder / "tokenizer.json", swap)


def other_merges(folder: Path) -> None:
    edit(folder / "tokenizer.json", lambda fields: fields["model"]["merges"].pop())


def other_context(folder: Path) -> None:
    edit(folder / "config.json", lambda config: config.update(max_position_embeddings=7))


def other_base(folder: Path) -> None:
    edit(folder / "config.json", lambda c: (c.update(rope_theta=7.0), c["rope_parameters"].update(rope_theta=7.0)))


def nothing(folder: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (rewrite(nothing, scale=1.001), "cria.gguf holds another blk.0.attn_k.weight than the weights"),
        (rewrite(nothing, dtype="Q8_0"), "is stored in a type (GGML's number 8) that cannot be compared"),
        (rewrite(other_template), "cria.gguf holds another chat template than chat_template.jinja"),
        (rewrite(other_tokens), "cria.gguf holds another tokenizer than tokenizer.json: id"),
        (rewrite(other_merges), "cria.gguf merges letters to tokens in another way"),
        (rewrite(other_context), "cria.gguf says llama.context_length 7, but config.json"),
        (rewrite(other_base), "cria.gguf says llama.rope.freq_base 7.0, but config.json"),
        (lambda folder: (folder / "cria.gguf").write_bytes(b"GGUF"), "cria.gguf cannot be compared with the weights"),
        (lambda folder: (folder / "cria.gguf").write_bytes(b""), "cannot be compared with the weights: is empty"),
        (
            lambda folder: (folder / "cria.gguf").write_bytes((folder / "cria.gguf").read_bytes()[:-64]),
            "lies outside the file",
        ),
        (lambda folder: (folder / "cria.gguf").unlink(), "cria.gguf is missing; every release holds it"),
    ],
)
def test_another_model_in_the_gguf_file_is_found_though_it_is_signed(release, harm, found):
    harm(release)
    seal_again(release)
    assert any(found in problem for problem in problems(release)), problems(release)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"hidden_act": "gelu"}, "config.json sets hidden_act to 'gelu', which is no Llama"),
        ({"attention_bias": True}, "config.json sets attention_bias to True"),
        ({"architectures": ["MistralForCausalLM"]}, "config.json sets architectures to"),
        (
            {"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}},
            "config.json scales rotary positions in two",
        ),
        ({"rope_scaling": {"rope_type": "default", "rope_theta": 7.0}}, "says llama.rope.freq_base 500000.0"),
        (
            {"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}},
            "cria.gguf does not scale rotary positions, as config.json does",
        ),
        ({"rope_scaling": ["x"]}, "config.json or a file that it is checked with holds something unexpected"),
        ({"eos_token_id": 7}, "config.json gives another eos_token_id than generation_config.json"),
    ],
)
def test_a_config_that_makes_the_weights_another_model_is_found_though_it_is_signed(release, change, found):
    edit(release / "config.json", lambda config: config.update(change))
    seal_again(release)
    assert any(found in problem for problem in problems(release)), problems(release)


def test_a_tokenizer_that_breaks_its_library_is_a_problem_and_no_traceback(release):
    def twice(fields: dict) -> None:
        vocab, (first, second) = fields["model"]["vocab"], fields["model"]["merges"][0]
        vocab[first + second] = 0

    edit(release / "tokenizer.json", twice)
    seal_again(release)
    assert any("holds another tokenizer than tokenizer.json" in problem for problem in problems(release))


@pytest.mark.parametrize("dtype", ["F32", "F16"])
def test_the_same_model_rounded_to_half_precision_is_the_same(release, dtype):
    rewrite(nothing, dtype=dtype)(release)
    seal_again(release)
    assert problems(release) == []


def test_scaled_rotary_positions_are_compared(tmp_path):
    scaling = RopeScaling(factor=8.0, original_context=32)
    folder = save_tiny_model(tmp_path / "model", replace(TINY, rope_scaling=scaling))
    model = hf.load(folder)
    gguf.write(folder / "x.gguf", model, folder, dtype="F32", name="x")
    stops = load_config(folder)
    assert stops.rope_scaling == scaling
    assert [reason for _, reason in gguf_problems(folder) if "rotary" in reason] == []
    config = replace(model.config, rope_scaling=replace(scaling, factor=4.0))
    other = type(model)(config)
    other.load_state_dict(model.state_dict())
    gguf.write(folder / "x.gguf", other, folder, dtype="F32", name="x")
    assert [reason for _, reason in gguf_problems(folder) if "rotary" in reason] == [
        "scales rotary positions in another way than config.json (rope_freqs.weight)"
    ]


def test_the_reader_gives_what_the_gguf_package_gives(built):
    from gguf import GGUFReader

    path = built.folder / "cria.gguf"
    theirs = GGUFReader(path)
    with open_gguf(path) as ours:
        for name, field in theirs.fields.items():
            if not name.startswith("GGUF."):
                assert ours.fields[name] == field.contents(), name
        assert ours.tensors.keys() == {tensor.name for tensor in theirs.tensors}
        for tensor in theirs.tensors:
            assert np.array_equal(ours.values(tensor.name).ravel(), tensor.data.ravel())


@pytest.mark.parametrize(
    ("path", "content", "found"),
    [
        ("model.pkl", b"\x80\x04N.", "model.pkl is none of the files that a release holds"),
        ("modeling_cria.py", b"", "modeling_cria.py is none of the files"),
        ("pytorch_model.bin", b"\x80\x04N.", "pytorch_model.bin is none of the files"),
        ("other.gguf", b"GGUF", "other.gguf is none of the files"),
        ("figures/x.py", b"", "figures/x.py is no picture"),
        ("figures/x.svg", b"<svg><script/></svg>", "figures/x.svg is no picture"),
        ("figures/x.png", b"\x80\x04N.", "figures/x.png is no picture"),
        ("figures/more/x.png", b"\x89PNG\r\n\x1a\n", "figures/more/x.png is none of the files"),
        ("Config.json", b"{}", "Config.json is none of the files"),
        (".unfinished", b"x", ".unfinished is none of the files"),
    ],
)
def test_a_file_that_no_release_holds_is_found_though_it_is_signed(release, path, content, found):
    (release / path).parent.mkdir(exist_ok=True)
    (release / path).write_bytes(content)
    seal_again(release)
    assert any(problem.startswith(found) for problem in problems(release)), problems(release)


def tensors_file(header: dict, content: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def noted(**notes: object) -> Callable[[Path], tuple[str, bytes]]:
    """The release's own weights with other notes in their header."""

    def made(folder: Path) -> tuple[str, bytes]:
        with (folder / "model.safetensors").open("rb") as file:
            start, header = read_header(file)
            file.seek(start)
            return "model.safetensors", tensors_file({"__metadata__": notes, **header}, file.read())

    return made


ONE = {"model.norm.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (noted(format="tf"), "model.safetensors cannot be read (model.safetensors is not a safetensors file "
         "(its notes say that it is of the format 'tf', which is not 'pt'"),
        (noted(format="pt", more=[1]), "its notes (__metadata__) are not texts by name"),
        (lambda folder: ("more.safetensors", tensors_file({})), "more.safetensors is not a safetensors file (it ho"),
        (lambda folder: ("more.safetensors", tensors_file(ONE, b"1234")),
         "model.norm.weight stands in model.safetensors too"),
        (lambda folder: ("more.safetensors", tensors_file({"x": ONE["model.norm.weight"]}, b"1234")),
         "model.safetensors.index.json is missing; without it other programs find no weights but those of"),
    ],
)  # fmt: skip
def test_weights_that_other_programs_would_not_load_are_found_though_they_are_signed(release, made, found):
    key = ec.generate_private_key(ec.SECP256R1())
    name, content = made(release)
    (release / name).write_bytes(content)
    (release / sign.PUBLIC_KEY).write_bytes(sign.public_pem(key.public_key()))
    for path in (name, sign.PUBLIC_KEY):
        list_again(release, path)
    sign_again(release, key)
    assert any(found in problem for problem in problems(release)), problems(release)


def test_weights_in_several_files_with_a_true_index_are_a_release(given, tmp_path):
    weights = Path(shutil.copytree(given["weights"], tmp_path / "weights"))
    tensors = load_file(weights / "model.safetensors")
    (weights / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, weights / file, metadata={"format": "pt"})
    index = {name: file for file, part in parts.items() for name in part}
    (weights / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    folder = build_release(tmp_path / "release", **given | {"weights": weights}).folder
    assert problems(folder) == [] and standalone.verify(folder) == []
    index[names[0]], index[names[-1]] = index[names[-1]], index[names[0]]
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    seal_again(folder)
    assert problems(folder)[0].startswith(f"model.safetensors.index.json says that {names[0]} is in model-00002")


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_settings_that_name_code_are_found(release, file):
    edit(release / file, lambda fields: fields.update(auto_map={"AutoModelForCausalLM": "modeling.Cria"}))
    seal_again(release)
    assert any("names code to be run (auto_map)" in problem for problem in problems(release))


@pytest.mark.parametrize(
    ("promise", "found"),
    [
        ({"gates": []}, "does not name the gates that every release passes: weights, scores, licences, template, card"),
        ({"gates": None}, "does not name the gates"),
        ({"gates": [*GATES, "fit for children"]}, "says that it passed a gate 'fit for children', which this Ayllu"),
        ({"gates": ["weights", "scores", "licences", "template"]}, "every release passes: card"),
        ({"policy": "weaker"}, "calls its policy open, but has other rules than the policy of that name"),
    ],
)
def test_a_manifest_that_promises_less_is_found_though_it_is_signed(release, promise, found):
    from ayllu.release.policy import OPEN

    if "policy" in promise:
        weaker = replace(OPEN, permitted_licences=(*OPEN.permitted_licences, "CC-BY-NC-4.0"))
        promise = {"policy": weaker.as_json()}
    key = ec.generate_private_key(ec.SECP256R1())
    seal_again(release, key)
    edit(release / MANIFEST, lambda manifest: manifest.update(promise))
    (release / sign.SIGNATURE).unlink()
    sign_again(release, key)
    assert any(found in problem for problem in problems(release)), problems(release)
