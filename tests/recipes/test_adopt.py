"""Adopting: an artifact of the lab that every command knows by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ayllu.recipes.adopt import Adopted, adopt
from ayllu.text.chat import Message, render


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adopt")


@pytest.fixture(scope="module")
def smollm2(home: Path) -> Adopted:
    return adopt("smollm2", home=home)


def test_the_packaged_model_becomes_an_artifact(smollm2: Adopted, home: Path) -> None:
    assert smollm2.name == "smollm2"
    origin = smollm2.origin
    assert (origin.title, origin.licence) == ("SmolLM2-135M-Instruct", "Apache-2.0")
    assert origin.types == {"Q4_1": 210, "F32": 61, "Q8_0": 1}
    model, tokenizer = smollm2.load()
    assert model.config.parameters == 134_515_008
    assert (tokenizer.size, tokenizer.bos, tokenizer.eot, tokenizer.stops) == (49_152, 0, 2, {0, 2})
    ids = render([Message(role="user", content="Hi")], tokenizer)
    assert tokenizer.decode(ids, skip_special=False) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert adopt("smollm2", home=home).folder == smollm2.folder
