"""MLX folders: their integers are the weights, and mlx-lm computes what we do."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from ayllu.model.files import hf, mlx
from ayllu.release.exports.export import export_measured
from ayllu.release.exports.loss import Limit
from support.models import SHAPES, save_tiny_model
from support.parts import need
from support.texts import ENGLISH

READER = """
import sys
import mlx.core as mx, numpy as np
from mlx_lm.utils import load_model
from pathlib import Path
model, _ = load_model(Path(sys.argv[1]))
np.save(sys.argv[2], np.array(model(mx.array([list(range(20, 60))]))[0].astype(mx.float32)))
"""


@pytest.mark.parametrize(("dtype", "error"), [("F32", 0), ("F16", 1e-3), ("Q8_0", 0.01), ("Q4_1", 0.1), ("Q4_0", 0.12)])
def test_weights_come_back_within_their_precision(tmp_path: Path, dtype: mlx.Type, error: float) -> None:
    folder = save_tiny_model(tmp_path / "llama", SHAPES["untied"])
    (tmp_path / "text.txt").write_text("\n\n".join(ENGLISH[:10]), encoding="utf-8")
    limit = Limit(text=tmp_path / "text.txt", most_lost=1.0)
    found = export_measured(folder, "mlx", tmp_path / "out", dtype=dtype, limit=limit)
    assert found.loss.lost is not None
    assert found.loss.lost == 0 if dtype == "F32" else abs(found.loss.lost) < 0.5
    before, after = hf.load(folder).state_dict(), mlx.read(tmp_path / "out").state_dict()
    for name, values in before.items():
        assert (after[name] - values).norm() <= error * values.norm()
    fields = json.loads((tmp_path / "out" / "config.json").read_text())
    assert fields.get("quantization", {}).get("bits") == {"Q8_0": 8, "Q4_1": 4, "Q4_0": 4}.get(dtype)


@pytest.mark.slow  # needs an environment of its own: mlx-lm 0.32.2 with mlx[cpu] 0.32.4, 150 MB
@pytest.mark.parametrize("dtype", ["F32", "Q8_0", "Q4_1", "Q4_0"])
@pytest.mark.parametrize("shape", ["tied", "scaled"])
def test_mlx_lm_computes_the_same_logits(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, shape: str, dtype: mlx.Type
) -> None:
    python = mlx_python(tmp_path_factory)
    folder = save_tiny_model(tmp_path / "llama", SHAPES[shape])
    export_measured(folder, "mlx", tmp_path / "out", dtype=dtype, limit=Limit(most_lost=9))
    subprocess.run([python, "-c", READER, tmp_path / "out", tmp_path / "logits.npy"], check=True, timeout=120)
    with torch.no_grad():
        ours = mlx.read(tmp_path / "out").eval()(torch.tensor([list(range(20, 60))]))[0].numpy()
    theirs = np.load(tmp_path / "logits.npy")
    assert np.sqrt(np.square(theirs - ours).mean()) < (1e-4 if dtype == "F32" else 0.02) * ours.std()


def mlx_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has mlx-lm, made once."""
    place = tmp_path_factory.getbasetemp() / "mlx-environment"
    if not place.exists():
        subprocess.run(["python3", "-m", "venv", place], check=True)
        command = [place / "bin" / "pip", "install", "-q", "mlx[cpu]==0.32.4", "mlx-lm==0.32.2"]
        need(subprocess.run(command, capture_output=True).returncode == 0, "mlx-lm cannot be installed here")
    return place / "bin" / "python"
