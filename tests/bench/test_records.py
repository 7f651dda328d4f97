"""Figures in documents are those of the records that benches wrote."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "bench"))

import keep  # noqa: E402
import tables  # noqa: E402
import train_step  # noqa: E402

RECORDS = {path.relative_to(keep.RECORDS).with_suffix("").as_posix(): path for path in keep.RECORDS.rglob("*.json")}


@pytest.mark.parametrize("document", tables.DOCUMENTS, ids=lambda path: path.name)
def test_tables_are_those_of_the_records(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert tables.filled(text) == text, "run python bench/tables.py"


def test_the_first_record_of_one_that_stands_behind_another_gets_its_place(tmp_path: Path) -> None:
    [(name, other)] = tables.BEHIND.items()
    text = f"before\n\n<!-- record: {other} -->\n<!-- end of record -->\n\nbehind\n"
    shutil.copy(RECORDS[other], tmp_path / f"{other}.json")
    assert name not in tables.filled(text, tmp_path)
    shutil.copy(RECORDS[other], tmp_path / f"{name}.json")
    both = tables.filled(text, tmp_path)
    assert [place for _, place, _ in tables.PLACE.findall(both)] == [other, name]
    assert tables.filled(both, tmp_path) == both and both.endswith("<!-- end of record -->\n\nbehind\n")


def test_a_table_without_a_record_is_found() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert tables.unrecorded(text) == []
    assert tables.unrecorded(text + "\n| a | b |\n|---|---|\n| 1 | 2 |\n") == ["| a | b |"]
    head, commit = next(iter(tables.OLDER.items()))
    assert tables.unrecorded(text.replace(head, "")) == [f"{head} (gone)"]
    assert tables.unrecorded(text.replace(commit, "a commit")) == [f"{head} (of which commit?)"]


@pytest.mark.parametrize("document", tables.DOCUMENTS, ids=lambda path: path.name)
def test_figures_that_wait_for_a_record_say_of_which_commit_they_are(document: Path) -> None:
    for place in tables.PLACE.finditer(document.read_text(encoding="utf-8")):
        assert not tables.waits(place[2]) or tables.ORIGIN.search(place[0]), place[2]


def test_a_place_without_a_record_is_left_and_asked_for_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "<!-- record: startup -->\nof 1234567 on 2026-11-26:\n| a |\n<!-- end of record -->\n"
    assert tables.filled(text, tmp_path) == text
    with pytest.raises(FileNotFoundError):
        tables.filled(text.replace("startup", "starting"), tmp_path)
    monkeypatch.setattr(tables, "OLDER", {})
    monkeypatch.setattr(tables, "waits", lambda name: name == "startup")
    assert tables.unrecorded(text) == []
    assert tables.unrecorded(text.replace("1234567", "a commit")) == ["startup (of which commit?)"]


def test_every_record_is_shown_and_every_place_has_one() -> None:
    places = [name for path in tables.DOCUMENTS for _, name, _ in tables.PLACE.findall(path.read_text())]
    assert sorted(name for name in places if not tables.waits(name)) == sorted(RECORDS)


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_a_record_says_what_was_run_where_and_gives_every_round(name: str) -> None:
    path = RECORDS[name]
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["name"] == name
    assert record["command"].startswith("python bench/")
    assert re.fullmatch(r"[0-9a-f]{40}", record["commit"])
    assert record["machine"]["processor"] and record["machine"]["versions"]["torch"]
    assert record["rounds"]
    assert "/home/" not in path.read_text() and "/root" not in path.read_text()


def test_a_record_is_kept_whole_and_without_folders_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench/startup.py", "--old", str(tmp_path), "--runs", "3"])
    monkeypatch.setattr(keep, "commit", lambda: "a" * 40)
    figures: dict[str, Any] = {"starts": {"pass": {"seconds": 0.5, "processor_seconds": 0.25, "times_pass": 1.0}}}
    kept = keep.keep("startup", figures, rounds=[0.5], folder=tmp_path / "records")
    record = json.loads(kept.read_text())
    assert record["command"] == "python bench/startup.py --old FOLDER --runs 3"
    assert record["figures"] == figures
    text = "before\n<!-- record: startup -->\nold figures\n<!-- end of record -->\nafter\n"
    shown = tables.filled(text, kept.parent)
    assert "| `pass` | 0.500 | 0.250 | 1.0 |" in shown
    assert "old figures" not in shown and shown.startswith("before\n") and shown.endswith("after\n")
    assert tables.filled(shown, kept.parent) == shown


def test_training_steps_beside_peers_name_the_nearest_and_those_left_out() -> None:
    ratios = {"transformers-compiled": 1.5, "transformers-eager": 1.7, "litgpt-eager": 1.34, "olmo-core-compiled": 1.4}
    shape: dict[str, Any] = {
        **train_step.SHAPES["small"],
        "tokens_per_second": 4000.0,
        "fraction_of_matmul_peak": 0.61,
        "peers": {name: {"ratio": ratio} for name, ratio in ratios.items()},
    }
    row = train_step.table({"shapes": [shape], "memory": None}).splitlines()[-1]
    told, *cells = row.strip("| ").split(" | ")
    assert told == "L6 D384 V8192, 8 rows of 512: 4,000 tokens/s"
    assert cells == ["1.50 (1.70)", "– (**1.34**)", "1.40 (–)", "61 %"]
