"""ONNX files: ONNX Runtime computes what we do, with its cache and without, and the file tells nothing of its maker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ayllu.lab.error import UserError
from ayllu.model.files import onnx
from ayllu.release.exports.export import export_measured, export_model
from ayllu.release.exports.loss import Limit
from support.models import SHAPES, TINY, save_tiny_model, sharp_model, tiny_model
from support.parts import need_module
from support.texts import ENGLISH

onnxruntime = need_module("onnxruntime", "onnxruntime has no wheel for this platform")
PROMPT = list(range(20, 60))


def session(folder: Path) -> Any:
    return onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])


def run(
    session: Any, ids: list[int], past: dict[str, np.ndarray], total: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits, and the cache as the next call wants it."""
    feed = {"input_ids": np.array([ids], np.int64), "attention_mask": np.ones((1, total), np.int64), **past}
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, feed), strict=True))
    logits = found.pop("logits")
    return logits[0], {name.replace("present", "past_key_values"): values for name, values in found.items()}


def empty(session: Any) -> dict[str, np.ndarray]:
    """A cache that holds nothing."""
    pasts = [given for given in session.get_inputs() if given.name.startswith("past")]
    return {given.name: np.zeros((1, given.shape[1], 0, given.shape[3]), np.float32) for given in pasts}


@pytest.mark.parametrize("shape", SHAPES)
def test_onnx_runtime_computes_the_same_logits_in_one_piece_or_several(tmp_path: Path, shape: str) -> None:
    model = sharp_model(SHAPES[shape]).eval()
    onnx.write(tmp_path, model)
    opened = session(tmp_path)
    with torch.no_grad():
        ours = model(torch.tensor([PROMPT]))[0].numpy()
    whole, _ = run(opened, PROMPT, empty(opened), 40)
    assert np.abs(whole - ours).max() < 1e-4
    first, past = run(opened, PROMPT[:30], empty(opened), 30)
    for at in range(30, 40):
        last, past = run(opened, [PROMPT[at]], past, at + 1)
        assert np.abs(last[0] - ours[at]).max() < 1e-4
    assert np.abs(first - ours[:30]).max() < 1e-4


@pytest.mark.parametrize(("dtype", "error"), [("F16", 0.01), ("BF16", 0.05), ("Q8_0", 0.15)])
def test_smaller_types_are_near(tmp_path: Path, dtype: onnx.Type, error: float) -> None:
    model = sharp_model(SHAPES["untied"]).eval()
    sizes = {}
    for kind in (dtype, "F32"):
        (tmp_path / kind).mkdir()
        onnx.write(tmp_path / kind, model, dtype=kind)  # type: ignore[arg-type]
        sizes[kind] = (tmp_path / kind / "model.onnx").stat().st_size
    assert sizes[dtype] < 0.6 * sizes["F32"]
    opened = session(tmp_path / dtype)
    with torch.no_grad():
        ours = model(torch.tensor([PROMPT]))[0].numpy()
    theirs, _ = run(opened, PROMPT, empty(opened), 40)
    assert np.sqrt(np.square(theirs - ours).mean()) < error * ours.std()


def test_large_weights_lie_in_a_second_file_and_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = sharp_model(SHAPES["tied"]).eval()
    monkeypatch.setattr(onnx, "ONE_FILE", 100_000)
    assert onnx.write(tmp_path, model) == ["model.onnx", "model.onnx.data"]
    assert (tmp_path / "model.onnx").stat().st_size < 0.2 * (tmp_path / "model.onnx.data").stat().st_size
    opened = session(tmp_path)
    with torch.no_grad():
        ours = model(torch.tensor([PROMPT]))[0].numpy()
    assert np.abs(run(opened, PROMPT, empty(opened), 40)[0] - ours).max() < 1e-4


def test_the_same_bytes_come_from_any_folder_and_tell_nothing_of_it(tmp_path: Path) -> None:
    written = []
    for place in ("one", "another/below"):
        folder = save_tiny_model(tmp_path / place / "llama", SHAPES["tied"])
        export_model(folder, "onnx", tmp_path / place / "out")
        written.append((tmp_path / place / "out" / "model.onnx").read_bytes())
    assert written[0] == written[1]
    for word in (str(tmp_path), "/src/", ".py", "ayllu/model"):
        assert word.encode() not in written[0]


def test_what_it_loses_is_what_onnx_runtime_computes(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "llama", SHAPES["tied"])
    (tmp_path / "text.txt").write_text("\n\n".join(ENGLISH[:20]), encoding="utf-8")
    limit = Limit(text=tmp_path / "text.txt", most_lost=1.0)
    whole = export_measured(folder, "onnx", tmp_path / "whole", limit=limit)
    assert abs(whole.loss.lost or 0) < 1e-4
    assert {"model.onnx", "genai_config.json", "tokenizer.json", "config.json"} <= set(whole.files)
    config = json.loads((tmp_path / "whole" / "genai_config.json").read_text())
    assert config["model"]["decoder"]["inputs"]["past_key_names"] % 1 == "past_key_values.1.key"
    assert len(config["model"]["eos_token_id"]) > 1
    few = export_measured(folder, "onnx", tmp_path / "few", dtype="Q4_0", limit=limit)
    assert few.bytes < whole.bytes
    with pytest.raises(UserError, match="onnx has no type Q4_K_M"):
        export_measured(folder, "onnx", tmp_path / "no", dtype="Q4_K_M", limit=limit)


def test_heads_that_onnx_runtime_has_no_attention_for_are_refused(tmp_path: Path) -> None:
    model = tiny_model(TINY)
    with pytest.raises(ValueError, match="heads are 8 wide"):
        onnx.write(tmp_path, model)
    assert not any(tmp_path.iterdir())
