"""`ayllu documents`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ayllu.cli.main import main


def ran(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["documents", *arguments])
    return int(left.value.code or 0)


def test_add_search_open_list_and_remove(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    home = ("--home", str(tmp_path / "h"))
    assert ran("add", str(folder), "--words-only", "--json", *home) == 0
    told = json.loads(capfd.readouterr().out)
    assert (len(told["added"]), told["files"], told["unread"]) == (4, 4, [])
    assert ran("search", "borrowed ladder", "--words-only", "--json", *home) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["supported"] and found["passages"][0]["source"] == "garage.md"
    assert ran("open", found["passages"][0]["citation"], *home) == 0
    assert "»»# Garage" in capfd.readouterr().out
    assert ran("list", *home) == 0
    listed = capfd.readouterr().out
    assert listed.count("passages") == 4
    assert ran("search", "parliament", "--words-only", *home) == 1
    assert capfd.readouterr().out == "not in your documents\n"
    assert ran("remove", str(folder), "--json", *home) == 0
    assert len(json.loads(capfd.readouterr().out)["removed"]) == 4
    for odd in ("\udcff", "3f9a01bc#99999999999999999999:1-999999999999999999999"):
        assert ran("open", odd, *home) == 2 and ran("remove", odd, *home) == 2
        assert ran("search", odd, "--words-only", *home) == 1
    assert "Traceback" not in capfd.readouterr().err
    assert ran("remove", *home) == 2 and ran("search", " ", *home) == 2 and ran("open", "x", *home) == 2
