"""`ayllu compare`: why results differ, with paired scores, and never of different items."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ayllu.cli.main import main
from ayllu.evals.score import Scores
from ayllu.lab.channel import promote
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import MANIFEST, Store, read_manifest, write_manifest
from support.scores import scores


@stage(identity="compare.train")
def train(ctx: Context, *, lr: float, steps: int = 4) -> None:
    (ctx.folder / "config.json").write_text("{}")
    (ctx.folder / "model.safetensors").write_text(f"{lr}")
    lines = [json.dumps({"step": n + 1, "loss": 4 - lr * n}) for n in range(steps)]
    (ctx.folder / "losses.jsonl").write_text("\n".join(lines))
    for name, value in {"steps": steps, "batch": 2, "length": 8, "flops": 1e6, "seconds": 2.0}.items():
        ctx.note(name, value)


@stage(identity="compare.judge")
def judge(ctx: Context, model: Handle[Path], *, other_items: bool = False, worse: bool = False) -> None:
    found: Scores = scores()
    if worse:
        found = replace(found, documents=tuple(replace(d, bits=d.bits * 1.5) for d in found.documents))
    if other_items:
        found = replace(found, outcomes=found.outcomes[1:])
    found.save(ctx.folder)


def ask(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *words])
    out, err = capsys.readouterr()
    assert ended.value.code == code, err
    return json.loads(out) if "--json" in words else out + err


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("compare")
    place = Place(store=Store(home), cache=home)
    for name, lr, options in (("low", 0.1, {}), ("high", 0.2, {"worse": True}), ("other", 0.3, {"other_items": True})):
        model = train(lr=lr)
        made = resolve(judge(model, **options), place)
        promote(place.store, name, made[model].folder)
        if name == "high":
            manifest = read_manifest(made[model].folder)
            manifest["code"]["libraries"]["numpy"] = "9.9"
            manifest["machine"]["cores"] = 512
            write_manifest(made[model].folder, manifest)
    return home


def test_two_models_in_one_object(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(capsys, "low", "high", "--json", "--home", str(home))
    assert found["settings"] == [{"stage": "compare.train", "name": "lr", "values": [0.1, 0.2]}]
    assert any("9.9" in name for row in found["code"] for name in row["libraries"])
    assert {"name": "cores", "values": [read_manifest_of(home, "low")["machine"]["cores"], 512]} in found["machine"]
    rows = {row["score"]: row for row in found["scores"]}
    assert rows["hellaswag accuracy_norm"]["difference"] == 0 and rows["hellaswag accuracy_norm"]["better"] is None
    books = rows["bits_per_byte books"]
    assert books["first"] == 1.5 and books["second"] == 2.25
    assert books["difference"] == pytest.approx(0.75) and books["better"] in (None, "first")
    assert books["low"] <= books["difference"] <= books["high"]
    assert [row["flops"] for row in found["cost"]] == [1e6, 1e6]


def read_manifest_of(home: Path, name: str) -> dict[str, Any]:
    key = json.loads((home / "channels" / f"{name}.json").read_text())["history"][-1]["key"]
    (path,) = home.glob(f"artifacts/*-{key[:16]}/{MANIFEST}")
    return json.loads(path.read_text())


def test_it_fits_a_screen_and_draws_the_curves(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "curves.png"
    told = ask(capsys, "low", "high", "--picture", str(picture), "--home", str(home))
    assert len(told.splitlines()) <= 40
    assert "compare.train: lr" in told and "better" in told
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "needs --picture" in ask(capsys, "low", "high", "--by", "token", "--home", str(home), code=2)


def test_what_was_measured_on_different_items_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ask(capsys, "low", "other", "--home", str(home), code=2)
    assert "low and other: the two cannot be compared: of hellaswag they were asked 4 and 3 items" in told
    assert "nothing in" in ask(capsys, "low", "nobody", "--home", str(home), code=2)


@stage(identity="compare.stopped")
def stopped(ctx: Context, model: Handle[Path]) -> None:
    raise KeyboardInterrupt


def test_a_run_that_was_stopped_is_not_what_it_made_on_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        resolve(stopped(train(lr=0.1)), Place(store=store, cache=tmp_path, title="long"))
    other = train(lr=0.2)
    promote(store, "other", resolve(other, Place(store=store, cache=tmp_path))[other].folder)
    for names in (("other", "long"), ("long", "other")):
        told = ask(capsys, *names, "--home", str(tmp_path), code=2)
        assert "long is interrupted and has no record to compare" in told


def test_scores_that_somebody_has_changed_are_compared_with_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(store=Store(tmp_path), cache=tmp_path)
    for name, lr in (("one", 0.1), ("two", 0.2)):
        judged = judge(train(lr=lr))
        made = resolve(judged, place)
        promote(place.store, name, made[judged.inputs["model"]].folder)
    path = made[judged].folder / "documents.jsonl"
    path.write_text(path.read_text().replace("300.0", "100.0"))
    told = ask(capsys, "one", "two", "--home", str(tmp_path), code=2)
    assert "is damaged: 'documents.jsonl' is not what was written" in told
