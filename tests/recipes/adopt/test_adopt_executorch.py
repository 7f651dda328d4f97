"""SmolLM2 as a file for phones: what it loses, and that ExecuTorch's own runner writes what our engine writes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ayllu.model.generate import generate
from ayllu.recipes.adopt import Adopted
from ayllu.release.exports.executorch.write import Type
from ayllu.release.exports.export import export_measured
from ayllu.text.chat import Message, render
from ayllu.text.template import FIXED_DAY, render_text
from support.programs.executorch import executorch_python, generated

QUESTION = "What is the capital of France?"


@pytest.mark.slow  # a minute to write one, and one to measure it
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("dtype", "lost", "megabytes"), [("F32", 1e-4, 700), ("Q8_0", 0.02, 180), ("Q4_0", 0.08, 140)])
def test_smollm2_for_phones(smollm2: Adopted, tmp_path: Path, dtype: Type, lost: float, megabytes: float) -> None:
    executorch_python()
    began = time.monotonic()
    found = export_measured(smollm2.folder, "executorch", tmp_path / "out", dtype=dtype, context=512)
    assert found.loss.lost is not None and abs(found.loss.lost) < lost
    assert found.bytes < megabytes * 1e6
    model, tokenizer = smollm2.load()
    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    asked = [{"role": "user", "content": QUESTION}]
    assert tokenizer.chat_template
    prompt = render_text(tokenizer.chat_template, asked, special=special, reply=True, now=FIXED_DAY)
    text, told = generated(tmp_path / "out", prompt, 40)
    ids = render([Message(role="user", content=QUESTION)], tokenizer)
    assert told["prompt_tokens"] == len(ids)
    assert "Paris" in text
    if dtype == "F32":
        ours = list(generate(model.eval(), ids, tokens=40, stop=tokenizer.stops))
        assert tokenizer.decode([i for i in ours if i not in tokenizer.stops]) in text
    figures = {"bytes": found.bytes, "lost": found.loss.lost, "seconds": time.monotonic() - began, **told}
    print(json.dumps({"type": dtype, **figures, "text": text}))  # noqa: T201  # seen with -s
