"""Curves and logs are read from files that a kill or a disk may have damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ayllu.cli.main import main
from ayllu.lab.shelf.curves import curve_of
from ayllu.lab.shelf.index import entries
from ayllu.lab.shelf.log import lines_of
from ayllu.lab.store import Store
from support.shelf import put

HUGE = 10**400
DAMAGED = (
    '{"step": 3, "loss": 1',
    "[" * 100_000,
    "7",
    '{"step": "x", "loss": 1.0}',
    '{"step": [1], "loss": 1.0}',
    f'{{"step": {HUGE}, "loss": 1.0}}',
    f'{{"step": 3, "loss": {HUGE}}}',
    '{"step": 3, "loss": {}}',
    '{"step": null}',
)


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_costs_a_curve_no_other_point(line: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    good = [json.dumps({"step": n, "loss": 3.0 - n, "seconds": 0.5}) for n in (1, 2)]
    text = "\n".join([good[0], line, good[1]])
    put(store, "pretrain", 1, files={"config.json": "{}", "model.safetensors": "x", "losses.jsonl": text})
    (row,) = entries(store)
    curve = curve_of(store, "it", row)
    assert curve is not None and curve.loss == (2.0, 1.0) and curve.step == (1.0, 2.0)
    logs = tmp_path / "logs" / Path(row.folder).name
    logs.mkdir(parents=True)
    (logs / "metrics.jsonl").write_text(text)
    said = lines_of(store, row)
    assert len(said) == 3 and said[0].startswith("step 1 · loss 2")
    with pytest.raises(SystemExit) as ended:
        main(["log", row.key or "", "--home", str(tmp_path)])
    assert ended.value.code == 0
