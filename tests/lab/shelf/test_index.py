"""The list of what is kept: every result with its state, quickly, and never from an index that is not so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ayllu.lab.channel import promote
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.shelf.find import find
from ayllu.lab.shelf.index import Entry, entries
from ayllu.lab.shelf.storage import needed, one, remove
from ayllu.lab.store import MANIFEST, Store, read_manifest, write_manifest
from support.shelf import put, taken_in


@stage(identity="shelf.count")
def count(ctx: Context, *, value: int, broken: bool = False) -> None:
    ctx.note("loss", 1.0 / value)
    if broken:
        raise ValueError("no such \x1b[31mluck")
    (ctx.folder / "config.json").write_text("{}")
    (ctx.folder / "model.safetensors").write_text("x" * value)


@stage(identity="shelf.judge")
def judge(ctx: Context, model: Handle[Path]) -> None:
    scores = {"sets": {"quiz": {"headline": "accuracy", "accuracy": {"value": 0.5}}}, "bits_per_byte": {}}
    (ctx.folder / "scores.json").write_text(json.dumps(scores))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(store=Store(tmp_path / "home"), cache=tmp_path / "cache", title="counting", command="ayllu run x")


def by_kind(store: Store) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for row in entries(store):
        found.setdefault(row.kind, []).append(row)
    return found


def test_a_run_its_model_and_its_scores_are_listed(place: Place) -> None:
    model = count(value=5)
    made = resolve(judge(model), place)
    promote(place.store, "five", made[model].folder)
    rows = by_kind(place.store)
    (found,) = rows["model"]
    assert (found.name, found.state, found.stage, found.channels) == ("five", "finished", "shelf.count", ["five"])
    assert found.bytes == 7 + (made[model].folder / MANIFEST).stat().st_size
    assert found.scores == {"loss": 0.2, "quiz": 0.5}, "what was measured of it, and what it says itself"
    assert rows["scores"][0].scores == {"quiz": 0.5}
    (run,) = rows["run"]
    assert (run.name, run.state, run.command) == ("counting", "finished", "ayllu run x")
    assert [row["label"] for row in run.facts["stages"]] == ["shelf.count", "shelf.judge"]
    resolve(judge(model), place)
    assert len(by_kind(place.store)["run"]) == 1, "a run that finds all there leaves no record"


def test_a_failed_run_says_why(place: Place) -> None:
    with pytest.raises(ValueError):
        resolve(count(value=2, broken=True), place)
    rows = {row.kind: row for row in entries(place.store)}
    assert rows["run"].state == rows["artifact"].state == "failed"
    assert rows["artifact"].error == "ValueError: no such \x1b[31mluck"
    resolve(count(value=2), place)
    with pytest.raises(UserError, match="nothing in"):
        find(place.store, "feedfeed")


PROGRAM = """
import sys, time
from pathlib import Path
from ayllu.lab.graph import stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store

@stage(identity="shelf.sleeps")
def sleeps(ctx) -> None:
    (ctx.scratch / "here").touch()
    time.sleep(60)

resolve(sleeps(), Place(store=Store(Path(sys.argv[1])), cache=Path(sys.argv[1])))
"""


def test_a_running_stage_is_running_and_a_killed_one_interrupted(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)])
    try:
        while not list(tmp_path.glob("partial/*/scratch/here")):
            assert process.poll() is None
            time.sleep(0.02)
        store = Store(tmp_path, writes=False)
        assert {(row.kind, row.state) for row in entries(store)} == {("run", "running"), ("artifact", "running")}
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert {(row.kind, row.state) for row in entries(store)} == {("run", "interrupted"), ("artifact", "interrupted")}


def spoil(path: Path) -> None:
    text = path.read_text()
    path.write_text(text.replace("finished", "finishes", 1))


SPOILT: dict[str, Any] = {
    "gone": Path.unlink,
    "no JSON": lambda path: path.write_text("{"),
    "another content": spoil,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_damaged_index_is_made_again(how: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "corpus", 1, files={"text": "abc"})
    before = [row.as_json() for row in entries(store)]
    SPOILT[how](tmp_path / "index.json")
    assert [row.as_json() for row in entries(store)] == before
    assert [row.as_json() for row in entries(store)] == before


def test_what_changes_beside_the_index_is_seen(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keys = [put(store, "corpus", number) for number in range(3)]
    assert len(entries(store)) == 3
    folder = store.path("corpus", keys[0])
    write_manifest(folder, read_manifest(folder) | {"seconds": 99.0})
    (store.path("corpus", keys[1]) / MANIFEST).write_text("{}")
    put(store, "tokens", 7)
    rows = {row.key: row for row in entries(store)}
    assert rows[keys[0]].seconds == 99.0
    assert sorted(row.state for row in rows.values()) == ["damaged", "finished", "finished", "finished"]
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert {Path(row.folder).parent.parent for row in entries(Store(moved, writes=False))} == {moved}


def test_a_home_that_cannot_be_written_to_is_listed(tmp_path: Path) -> None:
    assert entries(Store(tmp_path / "nothing", writes=False)) == []
    assert not (tmp_path / "nothing").exists()


def test_a_name_a_beginning_of_a_key_a_tag_and_a_folder_mean_the_same(tmp_path: Path) -> None:
    store = Store(tmp_path)
    files = {"config.json": "{}", "model.safetensors": "x", "release/card.md": "card"}
    key = put(store, "release", 1, files=files)
    others = [put(store, "corpus", number) for number in range(40)]
    promote(store, "cria", store.path("release", key))
    folder = store.path("release", key)
    for name in ("cria", key[:6], key, f"release-{key[:4]}", str(folder), str(folder / "release"), folder.name):
        assert find(store, name).key == key, name
    with pytest.raises(UserError, match="means 40 things: corpus-"):
        find(store, "corpus-")
    assert find(store, others[3]).key == others[3]


def test_scores_are_found_by_what_they_took_in(tmp_path: Path) -> None:
    store = Store(tmp_path)
    model = put(store, "mine", 1, files={"config.json": "{}", "a.gguf": "x"})
    scores = {"sets": {}, "bits_per_byte": {"books": {"value": 1.5}}}
    files = {"deep/scores.json": "not JSON", "scores.json": json.dumps(scores)}
    put(store, "measured", 2, files=files, inputs={"model": taken_in("mine", model)})
    assert find(store, "mine-").scores == {"bits_per_byte books": 1.5}


@pytest.mark.parametrize(
    "wrong", [{"ended": 5}, {"ended": ["x"]}, {"error": {}}, {"command": 1}, {"stages": ["x"]}, {"now": 7}]
)
def test_a_damaged_record_of_a_run_hides_no_other(place: Place, wrong: dict[str, object]) -> None:
    resolve(count(value=3), place)
    before = entries(place.store)
    (job,) = (Path(row.folder) for row in before if row.kind == "run")
    job.write_text(json.dumps(json.loads(job.read_text()) | wrong))
    after = entries(place.store)
    assert sorted(str(row.key) for row in after) == sorted(str(row.key) for row in before)
    (run,) = (row for row in after if row.kind == "run")
    assert run.state == "damaged" and "is no record of a run" in str(run.error)
    remove(place.store, one(place.store, run, after))
    assert [row.kind for row in entries(place.store)] == [row.kind for row in before if row.kind != "run"]


@pytest.mark.parametrize("wrong", [{"inputs": {"text": 5}}, {"inputs": [1]}, {"error": {}}, {"command": 1}])
def test_a_damaged_record_of_unfinished_work_hides_no_other(place: Place, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        resolve(count(value=2, broken=True), place)
    before = [row.key for row in entries(place.store)]
    (begun,) = place.store.partial.glob("*/begun.json")
    begun.write_text(json.dumps(json.loads(begun.read_text()) | wrong))
    rows = entries(place.store)
    assert [row.key for row in rows] == before
    assert needed(place.store, rows) == {}
