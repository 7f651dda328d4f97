"""LoRA adapters by name on one base: what peft computes, beside the base and beside each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import openai
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from ayllu.lab.error import UserError
from ayllu.model.files import hf
from ayllu.release.exports.export import export_model
from ayllu.serve.engines.choose import open_engine
from ayllu.serve.served import Models
from ayllu.serve.source import FolderSource
from support.models import WIDER, sharp_model, tiny_tokenizer
from support.serving.server import serving_models

PROMPT = [300, 17, 42, 311, 99, 250]
SETTINGS: dict[str, dict[str, Any]] = {
    "attention": {"r": 4, "lora_alpha": 24, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]},
    "mixed": {
        "r": 8,
        "lora_alpha": 12,
        "use_rslora": True,
        "target_modules": ["q_proj", "gate_proj", "up_proj", "down_proj"],
        "rank_pattern": {"layers.1.mlp.down_proj": 2},
        "alpha_pattern": {"q_proj": 30},
    },
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "base"
    tokenizer = tiny_tokenizer(WIDER.vocabulary)
    hf.save(folder, sharp_model(WIDER), bos=tokenizer.bos, stops=sorted(tokenizer.stops))
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """As peft saves them, drawn large enough that the answers differ."""
    found = {}
    for seed, (name, settings) in enumerate(SETTINGS.items()):
        torch.manual_seed(seed)
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), peft.LoraConfig(**settings))
        for part, weight in model.named_parameters():
            if "lora_" in part:
                weight.data.normal_(std=0.1)
        found[name] = tmp_path_factory.mktemp("adapters") / name
        model.save_pretrained(found[name])
    return found


@pytest.fixture(scope="module")
def expected(base: Path, adapters: dict[str, Path]) -> dict[str | None, list[int]]:
    """The likeliest ids by transformers and peft."""
    found = {}
    for name in (None, *adapters):
        model: Any = AutoModelForCausalLM.from_pretrained(base)
        if name is not None:
            model = peft.PeftModel.from_pretrained(model, adapters[name])
        ids = model.generate(input_ids=torch.tensor([PROMPT]), max_new_tokens=12, do_sample=False, pad_token_id=0)
        found[name] = [i for i in ids[0, len(PROMPT) :].tolist() if i not in tiny_tokenizer(WIDER.vocabulary).stops]
    assert len({tuple(ids) for ids in found.values()}) == len(found), "they all say something else"
    return found


@pytest.fixture(scope="module", params=["torch", "llama.cpp", "native"])
def address(
    base: Path, adapters: dict[str, Path], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = base
    if request.param == "llama.cpp":
        folder = tmp_path_factory.mktemp("gguf")
        for file in base.iterdir():
            (folder / file.name).symlink_to(file)
        export_model(base, "gguf", folder / "export", dtype="F32")
        next((folder / "export").glob("*.gguf")).rename(folder / "model.gguf")
    bits = 16 if request.param == "native" else None
    source = FolderSource(folder, name="base", engine=request.param, bits=bits, adapters=adapters)
    with serving_models(Models(source)) as found:
        yield found


def test_each_name_answers_as_peft_does_whoever_else_asks(address: str, expected: dict[str | None, list[int]]) -> None:
    tokenizer = tiny_tokenizer(WIDER.vocabulary)

    def ask(name: str | None) -> str:
        body = {"model": name or "base", "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
        return httpx2.post(f"{address}/v1/completions", json=body, timeout=60).json()["choices"][0]["text"]

    names = [*expected, *expected, *expected]
    with ThreadPoolExecutor(len(names)) as threads:
        said = list(threads.map(ask, names))
    for name, text in zip(names, said, strict=True):
        assert text == tokenizer.decode(expected[name]), name


def test_adapters_are_models_of_their_own_with_a_parent(address: str) -> None:
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    found = {model.id: getattr(model, "parent", None) for model in client.models.list()}
    assert found == {"base": None, "attention": "base", "mixed": "base"}
    reply = client.chat.completions.create(
        model="mixed", messages=[{"role": "user", "content": "Hello"}], max_tokens=3, temperature=0
    )
    assert reply.model == "mixed"
    response = client.responses.create(model="attention", input="Hello", max_output_tokens=16)
    assert response.model == "attention"
    with pytest.raises(openai.BadRequestError, match="name its base base"):
        client.embeddings.create(model="mixed", input="Hello")


def copied(folder: Path, to: Path, *, weights: Any = None, **fields: Any) -> Path:
    to.mkdir()
    told = json.loads((folder / "adapter_config.json").read_text()) | fields
    (to / "adapter_config.json").write_text(json.dumps(told))
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(weights(tensors) if weights else tensors, to / "adapter_model.safetensors")
    return to


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "no LoRA adapter"),
        ({"use_dora": True}, "has use_dora"),
        ({"bias": "all"}, "has bias"),
        ({"modules_to_save": ["lm_head"]}, "has modules_to_save"),
        ({"init_lora_weights": "pissa_niter_4"}, "changes the base too"),
        ({"r": 3}, "at rank 3"),
        ({"alpha_pattern": {".*proj": 3}}, "no name of a module"),
        ({"lora_alpha": None}, "no lora_alpha"),
    ],
)
def test_what_is_no_plain_adapter_of_the_base_is_refused(
    fields: dict[str, Any], told: str, base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    folder = copied(adapters["attention"], tmp_path / "adapter", **fields)
    with pytest.raises(UserError, match=f"the adapter x cannot be served: .*{told}"):
        FolderSource(base, adapters={"x": folder})


def test_tensors_that_have_no_place_or_lack_a_half_are_refused(
    base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    def head(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return tensors | {"base_model.model.lm_head.lora_A.weight": torch.zeros(4, 64)}

    def half(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return dict(list(tensors.items())[1:])

    def infinite(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: values * float("inf") for name, values in tensors.items()}

    for number, (change, told) in enumerate(((head, "no place for"), (half, "one half"), (infinite, "no numbers"))):
        folder = copied(adapters["attention"], tmp_path / str(number), weights=change)
        with pytest.raises(UserError, match=told):
            FolderSource(base, adapters={"x": folder})
    with pytest.raises(UserError, match=r"has no adapter_config\.json"):
        FolderSource(base, adapters={"x": base})


def test_an_adapter_does_not_hide_its_base(base: Path, adapters: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="two of the models and adapters are called 'base'"):
        Models(FolderSource(base, name="base", adapters={"base": adapters["mixed"]}))


def test_an_engine_without_adapters_says_so(base: Path, adapters: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="the engine other has no adapters"):
        open_engine(base, "other", adapters=adapters)
