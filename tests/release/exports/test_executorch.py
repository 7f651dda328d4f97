"""Files of ExecuTorch: its own runtime computes what we do, and its own runner of language models takes them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ayllu.lab.error import UserError
from ayllu.lab.made.environments import Environment
from ayllu.model.files import hf
from ayllu.model.transformer import Transformer
from ayllu.release.exports.executorch import environment, write
from ayllu.release.exports.executorch.runner import ExecutorchModel
from ayllu.release.exports.export import export_measured
from ayllu.release.exports.loss import Limit
from ayllu.text.tokenizer import Tokenizer
from support.models import SHAPES, save_tiny_model, sharp_model
from support.programs.executorch import executorch_python, generated
from support.texts import ENGLISH

CONTEXT = 64
PROMPT = list(range(20, 60))


@pytest.fixture(scope="session")
def python() -> Path:
    return executorch_python()


Written = Callable[..., tuple[Transformer, Path]]


@pytest.fixture(scope="session")
def written(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A model of `SHAPES` and its file in a type; each is written once."""
    made: dict[Any, tuple[Transformer, Path]] = {}

    def give(shape: str, dtype: write.Type = "F32") -> tuple[Transformer, Path]:
        if (shape, dtype) not in made:
            model, folder = sharp_model(SHAPES[shape]).eval(), tmp_path_factory.mktemp("pte")
            write.write(folder, model, dtype=dtype, context=CONTEXT, bos=3, stops=[5, 7])
            made[shape, dtype] = model, folder / write.FILE
        return made[shape, dtype]

    return give


def ours(model: Transformer) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(model(torch.tensor([PROMPT]))[0])


def test_the_runtime_computes_the_same_logits_one_by_one_at_once_and_in_pieces(written: Written) -> None:
    model, file = written("scaled")
    logits = ours(model)
    with ExecutorchModel(file, CONTEXT) as theirs:
        assert np.abs(theirs.logits(PROMPT) - logits).max() < 1e-4
        assert np.abs(theirs.last(PROMPT) - logits[-1]).max() < 1e-4
        assert np.abs(theirs.last(PROMPT[:1]) - logits[0]).max() < 1e-4, "nothing of the prompt before is left"
        assert np.abs(theirs.last(PROMPT[1:30], at=1) - logits[29]).max() < 1e-4
        assert np.abs(theirs.last(PROMPT[30:], at=30) - logits[39]).max() < 1e-4
        with pytest.raises(ValueError, match="runtime ended"):
            theirs.last([20] * (CONTEXT + 1))


@pytest.mark.parametrize("dtype", ["Q4_0", pytest.param("Q8_0", marks=pytest.mark.slow)])
def test_the_runtime_computes_with_the_integers_that_it_was_given(written: Written, dtype: write.Type) -> None:
    model, file = written("untied", dtype)
    rounded = copy.deepcopy(model)
    held = write.stored(model, dtype, CONTEXT, {})
    for name, weight in rounded.state_dict().items():
        scales = held.get(name.removesuffix("weight") + "scales")
        if scales is not None:
            groups = held[name].float().reshape(*scales.reshape(weight.shape[0], -1).shape, -1)
            weight.copy_((groups * scales.reshape(*groups.shape[:2], 1)).reshape(weight.shape))
    logits = ours(rounded)
    with ExecutorchModel(file, CONTEXT) as theirs:
        found = theirs.logits(PROMPT)
        assert np.abs(theirs.last(PROMPT) - found[-1]).max() < 0.05 * found.std(), "a prompt is read as it is written"
    assert np.sqrt(np.square(found - logits).mean()) < 0.05 * logits.std(), "but for what 8 bits of its inputs cost"
    assert np.sqrt(np.square(ours(model) - logits).mean()) > 0, "something was rounded"
    assert file.stat().st_size < (0.45 if dtype == "Q4_0" else 0.5) * 4 * model.config.parameters


@pytest.fixture(scope="session")
def tied(python: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Limit]:
    """A model's folder, what it is exported to in F32, and a limit that has a text."""
    place = tmp_path_factory.mktemp("tied")
    folder = save_tiny_model(place / "llama", SHAPES["tied"])
    (folder / "LICENSE").write_text("All may use it.")
    (place / "text.txt").write_text("\n\n".join(ENGLISH[:3]), encoding="utf-8")
    limit = Limit(text=place / "text.txt", most_lost=1.0)
    found = export_measured(folder, "executorch", place / "out", context=128, limit=limit)
    assert found.type == "F32" and abs(found.loss.lost or 0) < 1e-4 and found.file == "model.pte"
    return folder, place / "out", limit


def test_the_loss_is_what_its_runtime_computes_and_too_much_is_not_written(
    tied: tuple[Path, Path, Limit], tmp_path: Path
) -> None:
    folder, out, limit = tied
    names = {path.name for path in out.iterdir()}
    assert {"model.pte", "tokenizer.json", "tokenizer_config.json", "config.json", "LICENSE"} <= names
    strict = replace(limit, most_lost=-1.0)
    with pytest.raises(UserError, match=r"llama in Q4_0 loses -?0\.\d+ bits per byte .* may lose -1") as caught:
        export_measured(folder, "executorch", tmp_path / "no", dtype="Q4_0", limit=strict, importance="none")
    assert "loses 0.0000" not in str(caught.value)
    assert not (tmp_path / "no").exists()


def test_the_runner_of_language_models_writes_what_we_write(python: Path, tied: tuple[Path, Path, Limit]) -> None:
    folder, out, _ = tied
    said, told = generated(out, ENGLISH[0], 12, bos=1)
    tokenizer, model = Tokenizer.load(folder), hf.load(folder).eval()
    ids = [tokenizer.bos, *tokenizer.encode(ENGLISH[0])]
    assert told["prompt_tokens"] == len(ids)
    written = next_ids(model, ids, 12, tokenizer.stops)
    expected = tokenizer.decode([i for i in written if i not in tokenizer.stops])
    # Single bytes that are no letters by themselves are not printed by it.
    assert letters(said) == letters(expected)


def letters(text: str) -> str:
    return "".join(sign for sign in text if sign.isascii() and sign.isprintable())


def next_ids(model: Transformer, ids: list[int], count: int, stops: Collection[int]) -> list[int]:
    """What is likeliest, up to a stop."""
    found: list[int] = []
    while len(found) < count and not (found and found[-1] in stops):
        with torch.no_grad():
            found.append(int(model(torch.tensor([[*ids, *found]]))[0, -1].argmax()))
    return found


def test_what_cannot_be_exported_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_tiny_model(tmp_path / "llama", SHAPES["tied"])
    out = tmp_path / "out"
    with pytest.raises(UserError, match="executorch has no type F16: choose one of F32, Q8_0, Q4_0"):
        export_measured(folder, "executorch", out, dtype="F16")
    with pytest.raises(UserError, match="--context is 257; give 2 to 256 tokens"):
        export_measured(folder, "executorch", out, context=257)
    with pytest.raises(UserError, match="hf has the model's own context"):
        export_measured(folder, "hf", out, context=64)
    odd = save_tiny_model(tmp_path / "odd", replace(SHAPES["tied"], feed_forward=72))
    with pytest.raises(UserError, match="Q4_0 needs rows of whole blocks of 32 weights; write Q8_0"):
        export_measured(odd, "executorch", out, dtype="Q4_0", importance="none")
    monkeypatch.setenv("AYLLU_CACHE", str(tmp_path / "cache"))
    nothing = Environment(name="nothing", title="ExecuTorch", packages=["./no-such-folder"])
    monkeypatch.setattr(environment, "EXECUTORCH", nothing)
    with pytest.raises(UserError, match=r"the environment for ExecuTorch cannot be made \(.*\): check") as caught:
        export_measured(folder, "executorch", out)
    assert "\n" not in str(caught.value)
    assert not out.exists()
