"""Exports say what they lose, and refuse to lose too much; Ollama gets its Modelfile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ayllu.lab.error import UserError
from ayllu.model.files import gguf, hf
from ayllu.release.exports import texts
from ayllu.release.exports.export import export_measured
from ayllu.release.exports.importance import importance
from ayllu.release.exports.loss import Limit
from ayllu.release.exports.modelfile import find_turns
from ayllu.text.llama3_format import CHAT_TEMPLATE
from ayllu.text.template import FIXED_DAY, render_text
from ayllu.text.tokenizer import Tokenizer
from support.models import WIDER, save_tiny_model, sharp_model, tiny_tokenizer
from support.texts import ENGLISH


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that prefers some ids to others: what is rounded shows."""
    folder = save_tiny_model(tmp_path_factory.mktemp("sharp") / "llama", WIDER)
    tokenizer = tiny_tokenizer(WIDER.vocabulary)
    hf.save(folder, sharp_model(WIDER), bos=tokenizer.bos, stops=sorted(tokenizer.stops))
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "held-out.txt"
    path.write_text("\n\n".join(ENGLISH), encoding="utf-8")
    return path


def ayllu(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ayllu.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ)


def test_fewer_bits_lose_more_and_all_say_so(model: Path, text: Path, tmp_path: Path) -> None:
    lost = {}
    for dtype in ("F32", "Q8_0", "Q4_K_M", "Q3_K_M"):
        limit = Limit(text=text, most_lost=9)
        found = export_measured(model, "gguf", tmp_path / dtype, dtype=dtype, limit=limit, importance="none")  # type: ignore[arg-type]
        assert found.bytes == sum(path.stat().st_size for path in (tmp_path / dtype).iterdir())
        lost[dtype] = found.loss.lost
    assert lost["F32"] == 0
    assert abs(lost["Q8_0"] or 9) < 0.01 < abs(lost["Q3_K_M"] or 0)


def test_more_than_the_limit_is_not_written(model: Path, text: Path, tmp_path: Path) -> None:
    limit = Limit(text=text, most_lost=-5.0)
    with pytest.raises(UserError, match=r"llama in Q4_0 loses .* may lose -5: choose a type of more bits"):
        export_measured(model, "gguf", tmp_path / "out", dtype="Q4_0", limit=limit, importance="none")
    assert not list(tmp_path.iterdir())


def test_without_text_it_is_said_unless_a_limit_was_named(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: Any) -> Any:
        raise UserError("cannot fetch the archive")

    monkeypatch.setattr(texts, "held_out", missing)
    monkeypatch.setattr(texts, "calibration", missing)
    found = export_measured(model, "gguf", tmp_path / "out", dtype="Q4_0")
    assert found.loss.lost is None
    assert "not measured: cannot fetch" in capsys.readouterr().err
    with pytest.raises(UserError, match="cannot fetch the archive"):
        export_measured(model, "gguf", tmp_path / "limited", dtype="Q4_0", limit=Limit(most_lost=1.0))
    assert not (tmp_path / "limited").exists()
    kept = export_measured(model, "hf", tmp_path / "whole", limit=Limit(most_lost=0.0))
    assert kept.loss.lost == 0


def test_what_matters_is_what_is_multiplied_with_large_numbers(model: Path) -> None:
    loaded = hf.load(model)
    loaded.blocks[0].feed_forward.w1.weight.data[3] *= 100
    loaded.blocks[0].feed_forward.w3.weight.data[3] *= 100
    found = importance(loaded, Tokenizer.load(model), ENGLISH[:2])
    assert int(found["blocks.0.feed_forward.w2.weight"].argmax()) == 3
    assert found.keys() == {name for name, values in loaded.state_dict().items() if values.dim() == 2} - {
        "output.weight"
    }
    assert all(float(values.min()) > 0 for values in found.values())


def test_importance_changes_the_file_and_is_refused_where_it_has_no_use(
    model: Path, text: Path, tmp_path: Path
) -> None:
    limit = Limit(text=text, most_lost=9)
    for name, matters in (("with", text), ("without", "none")):
        export_measured(model, "gguf", tmp_path / name, dtype="Q4_0", limit=limit, importance=matters)  # type: ignore[arg-type]
    one, other = (next((tmp_path / name).glob("*.gguf")).read_bytes() for name in ("with", "without"))
    assert one != other
    assert len(one) == len(other)
    with pytest.raises(UserError, match="Q8_0 in gguf has no use for --importance"):
        export_measured(model, "gguf", tmp_path / "eight", dtype="Q8_0", limit=limit, importance=text)


def test_the_command_tells_file_bytes_and_loss(model: Path, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--to", "gguf", "--out", str(out), "--text", str(text), "--importance", "none"]
    done = ayllu("export", str(model), *options, "--dtype", "Q4_K_M", "--most-lost", "9", "--json")
    report = json.loads(done.stdout)
    assert report["files"] == ["Modelfile", "llama.gguf"]
    assert (report["file"], report["type"]) == ("llama.gguf", "Q4_K_M")
    assert report["bytes"] == sum(path.stat().st_size for path in out.iterdir())
    assert report["bits_per_byte_lost"] < report["bits_per_byte"]
    refused = ayllu(
        "export", str(model), *options[:3], str(tmp_path / "no"), *options[4:], "--dtype", "Q4_0", "--most-lost=-5"
    )
    assert refused.returncode == 2
    assert refused.stderr.strip().count("\n") == 0
    assert not (tmp_path / "no").exists()


CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a llama.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""As SmolLM2's: it has something to say before a user who begins."""
ODD = "{% for m in messages %}{{ loop.index }}: {{ m.content }}\n{% endfor %}"
TALKS = [
    [("user", "Hello")],
    [("system", "Be brief."), ("user", "Hello")],
    [("user", "Hello"), ("assistant", "Hi."), ("user", "More?")],
]


def filled(go: str, messages: list[dict[str, str]]) -> str:
    """What Go's text/template makes of the few forms that are used; anything else is left standing and shows."""
    if found := re.match(r'\{\{- if ne \(index \.Messages 0\)\.Role "system" \}\}(.*?)\{\{ end \}\}', go, re.DOTALL):
        go = (found[1] if messages[0]["role"] != "system" else "") + go[found.end() :]
    before, body, behind = re.fullmatch(
        r"(.*?)\{\{ range \.Messages \}\}(.*)\{\{ end \}\}\{\{ end \}\}(.*)", go, re.DOTALL
    ).groups()  # type: ignore[union-attr]
    parts = re.split(r'\{\{ (?:else )?if eq \.Role "(\w+)" \}\}', body)[1:]
    cases = dict(zip(parts[::2], parts[1::2], strict=True))
    return before + "".join(cases[one["role"]].replace("{{ .Content }}", one["content"]) for one in messages) + behind


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, CHATML])
def test_ollamas_template_writes_what_ours_writes_without_bos(template: str) -> None:
    special = {"bos_token": "<|begin_of_text|>"}
    turns = find_turns(template, special)
    assert turns is not None
    for talk in TALKS:
        messages = [{"role": role, "content": content} for role, content in talk]
        ours = render_text(template, messages, special=special, reply=True, now=FIXED_DAY)
        assert filled(turns.go(), messages) == ours.removeprefix("<|begin_of_text|>")


def test_a_template_that_does_more_is_left_out() -> None:
    assert find_turns(ODD, {}) is None


def test_the_modelfile_names_stops_context_and_sampling(model: Path, tmp_path: Path) -> None:
    export_measured(model, "gguf", tmp_path / "out", dtype="F32")
    lines = (tmp_path / "out" / "Modelfile").read_text().splitlines()
    assert lines[0] == "FROM ./llama.gguf"
    assert {'PARAMETER stop "<|eot_id|>"', 'PARAMETER stop "<|end_of_text|>"'} <= set(lines)
    assert {"PARAMETER num_ctx 256", "PARAMETER temperature 0.6", "PARAMETER repeat_penalty 1.1"} <= set(lines)
    assert torch.equal(gguf.read(tmp_path / "out" / "llama.gguf").model.norm.weight, hf.load(model).norm.weight)
