"""A training that came to nothing is compared and shown as any other."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ayllu.cli.main import main
from ayllu.lab.store import Store
from support.shelf import put


def refuse(word: str) -> float:
    raise AssertionError(f"{word} is no JSON")


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_figure_that_is_no_number_is_null_and_stops_nothing(
    odd: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, files = Store(tmp_path), {"config.json": "{}", "model.safetensors": "x"}
    first = put(store, "pretrain", 1, files=files, record={"final_loss": 1.5})
    second = put(store, "pretrain", 2, files=files, record={"final_loss": odd, "note": "NaN"})
    for words in (["compare", first, second], ["show", second], ["list"]):
        for as_json in (["--json"], []):
            with pytest.raises(SystemExit) as ended:
                main([*words, *as_json, "--home", str(tmp_path)])
            assert ended.value.code == 0
            out = capsys.readouterr().out
            if as_json:
                found = json.loads(out, parse_constant=refuse)
                if words[0] == "compare":
                    (row,) = found["measured"]
                    assert (row["name"], row["values"]) == ("final_loss", [1.5, None])
