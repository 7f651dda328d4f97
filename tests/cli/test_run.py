"""`ayllu run` and `ayllu why`: a recipe's parameters are the options of both."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ayllu.cli.main import main


def ayllu(*words: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """What the command prints: on stdout, or, where it ends with another `code`, on stderr."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code == code
    return capsys.readouterr()[bool(code)]


def why(*words: str, home: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    told = json.loads(ayllu("why", "cria", *words, "--home", str(home), "--json", capsys=capsys))
    assert told["recipe"] == "cria"
    return told["stages"]


def test_why_is_asked_of_the_run_with_the_same_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = why("--seed", "3", "--items", "5", home=tmp_path, capsys=capsys)
    assert [row["state"] for row in rows] == ["runs"] * len(rows)
    assert "give at least 1" in ayllu("why", "cria", "--items", "0", capsys=capsys, code=2)
    assert "never made here" in ayllu("why", "cria", "--home", str(tmp_path), capsys=capsys).splitlines()[0]


def test_help_explains_a_recipes_options_and_those_that_all_share(capsys: pytest.CaptureFixture[str]) -> None:
    told = ayllu("run", "cria", "--help", capsys=capsys)
    for option in ("--budget", "--vocabulary", "--layout", "--nodes", "--home", "--json"):
        assert option in told
    assert "dp_shard=4,tp=2" in told and "$AYLLU_HOME" in told and "Minutes of pretraining" in told
    told = ayllu("why", "smol", "--help", capsys=capsys)
    assert "--preferences" in told and "--layout" not in told


def test_what_to_start_on_each_node(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("RANK", raising=False)
    for nodes in (["--nodes", "2"], ["--nodes=2"]):
        words = ["run", "cria", "--layout", "dp_shard=8", *nodes, "--seed", "3"]
        monkeypatch.setattr(sys, "argv", ["ayllu", *words])
        assert "-m ayllu.cli run cria --layout dp_shard=8 --seed 3`" in ayllu(*words, capsys=capsys, code=2)


def test_many_processes_need_a_layout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "add --layout" in ayllu("run", "cria", "--nodes", "2", capsys=capsys, code=2)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert "add --layout" in ayllu("run", "cria", capsys=capsys, code=2)
