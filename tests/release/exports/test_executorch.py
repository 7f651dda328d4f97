"""Files of ExecuTorch: its own runtime computes what we do, and its own runner of language models takes them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ayllu.data.archive import default_cache
from ayllu.lab.environments import Environment
from ayllu.lab.error import UserError
from ayllu.model.transformer import Transformer
from ayllu.release.exports.executorch import environment, write
from ayllu.release.exports.executorch.runner import ExecutorchModel
from ayllu.release.exports.export import export_measured
from ayllu.release.exports.loss import Limit
from ayllu.text.tokenizer import Tokenizer
from support.models import SHAPES, save_tiny_model, sharp_model
from support.parts import need
from support.texts import ENGLISH

CONTEXT = 64
PROMPT = list(range(20, 60))
GENERATE = """
import json, sys
from executorch.extension.llm.runner import GenerationConfig, TextLLMRunner
runner, words, stats = TextLLMRunner(sys.argv[1] + "/model.pte", sys.argv[1] + "/tokenizer.json"), [], []
config = GenerationConfig(echo=False, max_new_tokens=int(sys.argv[3]), temperature=0.0, num_bos=int(sys.argv[4]))
runner.generate(sys.argv[2], config, words.append, stats.append)
sys.stderr.write("\\n" + json.dumps({"words": words, "stats": json.loads(stats[-1].to_json_string())}))
"""
"""What a user of the package writes; it needs no tokenizer package of its own."""


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of ExecuTorch's environment, kept with what else is downloaded."""
    try:
        return environment.EXECUTORCH.python(default_cache())
    except UserError as error:
        need(None, str(error))
        raise


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


@pytest.mark.parametrize(("dtype", "error", "bytes_"), [("Q8_0", 0.05, 0.5), ("Q4_0", 0.25, 0.45)])
def test_fewer_bits_are_near_and_smaller(written: Written, dtype: write.Type, error: float, bytes_: float) -> None:
    model, file = written("untied", dtype)
    with ExecutorchModel(file, CONTEXT) as theirs:
        found = theirs.logits(PROMPT)
        assert np.abs(theirs.last(PROMPT) - found[-1]).max() < 0.05 * found.std(), "a prompt is read as it is written"
    logits = ours(model)
    assert np.sqrt(np.square(found - logits).mean()) < error * logits.std()
    assert file.stat().st_size < bytes_ * 4 * model.config.parameters


def test_what_it_loses_is_told_and_the_papers_lie_beside_it(python: Path, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "llama", SHAPES["tied"])
    (folder / "LICENSE").write_text("All may use it.")
    (tmp_path / "text.txt").write_text("\n\n".join(ENGLISH[:3]), encoding="utf-8")
    limit = Limit(text=tmp_path / "text.txt", most_lost=1.0)
    whole = export_measured(folder, "executorch", tmp_path / "whole", limit=limit)
    assert whole.type == "F32" and abs(whole.loss.lost or 0) < 1e-4 and whole.file == "model.pte"
    assert {"model.pte", "tokenizer.json", "tokenizer_config.json", "config.json", "LICENSE"} <= set(whole.files)
    few = export_measured(folder, "executorch", tmp_path / "few", dtype="Q4_0", limit=limit, importance="none")
    assert few.loss.lost is not None and few.loss.lost != 0 and few.bytes < whole.bytes
    with pytest.raises(UserError, match="may lose -1"):
        export_measured(folder, "executorch", tmp_path / "no", dtype="Q8_0", limit=replace(limit, most_lost=-1.0))
    assert not (tmp_path / "no").exists()


def test_the_runner_of_language_models_writes_what_we_write(python: Path, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "llama", SHAPES["tied"])
    export_measured(folder, "executorch", tmp_path / "out", context=128, limit=Limit(text=folder / "config.json"))
    tokenizer = Tokenizer.load(folder)
    words = [python, "-I", "-c", GENERATE, str(tmp_path / "out"), ENGLISH[0], "8", "1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stderr.splitlines()[-1])
    ids = [tokenizer.bos, *tokenizer.encode(ENGLISH[0])]
    assert said["stats"]["prompt_tokens"] == len(ids)


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
