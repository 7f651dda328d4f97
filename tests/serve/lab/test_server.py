"""The lab's server: it reads only, answers this machine only, and shows what the store holds as the commands do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ayllu.cli.main import main
from ayllu.lab.shelf.index import entries
from ayllu.lab.store import Store
from ayllu.serve.lab.pedigree import pedigree
from ayllu.serve.lab.shelf import Shelf
from ayllu.serve.lab.sweeps import sweep
from support.lab import SWEEP, Lab


def get(
    address: str, path: str, *, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> tuple[int, Any, Any]:
    request = urllib.request.Request(f"{address}{path}", headers=dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request) as reply:
            body = reply.read()
            kind = reply.headers.get_content_type()
            return reply.status, json.loads(body) if kind == "application/json" else body, reply.headers
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), error.headers


def command(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--json"])
    assert ended.value.code == 0
    return json.loads(capsys.readouterr().out)


def test_a_comparison_is_that_of_the_command(lab: Lab, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, found, _ = get(address, f"/api/compare?of={lab.good[:12]},{lab.bad[:12]}")
    told = command(capsys, "compare", lab.good, lab.bad, "--home", str(lab.store.home))
    assert found["settings"] and found["scores"]
    assert {name: told[name] for name in found if name != "version"} == {
        n: v for n, v in found.items() if n != "version"
    }


def test_storage_and_predictions_are_those_of_the_commands(
    lab: Lab, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, storage, _ = get(address, "/api/storage")
    told = command(capsys, "gc", "--home", str(lab.store.home))
    assert (storage["can_go"], storage["count"]) == (told["bytes"], len(told["items"]))
    _, predictions, _ = get(address, "/api/predictions")
    calibration = command(capsys, "calibration", "--home", str(lab.store.home))
    for name in ("n", "coverage_pct", "coverage_low", "coverage_high", "open", "kinds"):
        assert predictions[name] == calibration[name]


def test_a_lineage_leads_from_the_sources_down_to_the_release(lab: Lab) -> None:
    snapshot = Shelf(lab.store).look()
    found = pedigree(snapshot.row(lab.good), snapshot)
    layers = {node["key"]: node["layer"] for node in found["nodes"]}
    stages = {node["stage"]: node["side"] for node in found["nodes"]}
    assert all(layers[source] < layers[target] for source, target, *_ in found["edges"])
    assert layers[lab.release] == max(layers.values())
    assert stages == {
        "small.corpus": "before",
        "small.tokens": "before",
        "small.train": "it",
        "small.judge": "after",
        "small.release": "after",
    }
    places = [(node["layer"], node["place"]) for node in found["nodes"]]
    past = [(layers[source] + n, place) for source, _, _, stops in found["edges"] for n, place in enumerate(stops, 1)]
    assert past and len(places + past) == len(set(places + past))


@pytest.mark.parametrize(
    "headers", [{"Host": "lab.example.org"}, {"Origin": "http://example.org"}, {"Host": "[", "Origin": "null"}]
)
def test_pages_of_others_are_refused(address: str, headers: dict[str, str]) -> None:
    for path in ("/", "/api/rows", "/static/app.js"):
        assert get(address, path, headers=headers)[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_but_reading_is_possible(lab: Lab, address: str, method: str) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in lab.store.home.rglob("*") if "index" not in path.name)
    for path in ("/", "/api/rows", "/api/storage", f"/api/record/{lab.good}"):
        assert get(address, path, method=method)[0] == 405
    after = sorted((path, path.stat().st_mtime_ns) for path in lab.store.home.rglob("*") if "index" not in path.name)
    assert after == before


def test_every_answer_has_a_policy_without_inline_scripts(address: str) -> None:
    for path in ("/", "/record/x", "/static/app.js", "/static/style.css", "/api/rows", "/nowhere"):
        headers = get(address, path)[2]
        policy = headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy and "unsafe" not in policy and "default-src 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/api/record/00000000",
        "/api/rows?nothing=1",
        "/api/rows?q=a&q=b",
        "/api/compare?of=00000000",
        "/api/compare",
        "/api/sweeps?score=nothing",
        f"/api/sweeps?id={SWEEP}&score=loss",
        "/api/curves?of=" + ",".join(["0" * 12] * 13),
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/%00",
    ],
)
def test_what_is_not_there_is_one_sentence(address: str, path: str) -> None:
    status, body, _ = get(address, path)
    assert status in (400, 404) and len(body["error"]) > 10
    assert str(Path.cwd()) not in body["error"] and "Traceback" not in body["error"]


def test_a_beginning_of_a_key_that_several_have_is_refused(lab: Lab) -> None:
    snapshot = Shelf(lab.store).look()
    assert snapshot.row(lab.good[:8]).key == lab.good
    with pytest.raises(Exception, match="no key here begins"):
        snapshot.row(lab.good[:3])


def test_texts_of_files_are_shown_as_glyphs(lab: Lab, address: str) -> None:
    _, found, _ = get(address, "/api/rows?state=failed")
    (row,) = found["rows"]
    assert "\\u202e" in row["error"] and "\u202e" not in row["error"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": float("nan")},
        {"value": 10**400},
        {"values": {"lr": float("inf")}},
        {"values": {"lr": [1]}},
        {"values": None},
        {"share": "x"},
        {"seed": {}},
        {"error": 5},
    ],
)
def test_a_damaged_record_of_a_sweep_is_told_and_hides_no_other(
    lab: Lab, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    folder = tmp_path / "sweeps"
    folder.mkdir()
    whole = json.loads((lab.store.home / "sweeps" / f"{SWEEP}.json").read_text())
    (folder / "whole.json").write_text(json.dumps(whole))
    first, *rest = whole["trials"]
    newest = {**whole, "id": "bad", "started": "9999", "trials": [first | wrong, *rest]}
    (folder / "newest.json").write_text(json.dumps(newest))
    store = Store(tmp_path, writes=False)
    found = sweep(store, Shelf(store).look(), id=None, stage=None, score=None)
    assert (found["id"], found["unreadable"], len(found["recorded"])) == (SWEEP, 1, 1)


def test_two_seeds_show_no_difference_that_three_would_not(lab: Lab, tmp_path: Path) -> None:
    """Of few seeds the spread itself is guessed: 2.5 standard errors are nothing then."""
    whole = json.loads((lab.store.home / "sweeps" / f"{SWEEP}.json").read_text())
    spreads = {0.1: (1.0, 1.02), 0.2: (1.03, 1.05), 0.3: (1.5, 1.52), 0.4: (1.01,), 0.5: (1.011, 1.011)}
    rows = [
        whole["trials"][0] | {"values": {"lr": lr}, "seed": seed, "value": value}
        for lr, values in spreads.items()
        for seed, value in enumerate(values)
    ]
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "one.json").write_text(json.dumps({**whole, "trials": rows}))
    store = Store(tmp_path, writes=False)
    found = sweep(store, Shelf(store).look(), id=None, stage=None, score=None)
    told = {one["settings"]["lr"]: one["against"] for one in found["tries"]}
    assert told == {0.1: "best", 0.2: "same", 0.3: "worse", 0.4: "unknown", 0.5: "same"}


def test_a_training_that_came_to_nothing_is_no_try(tmp_path: Path) -> None:
    from support.shelf import put

    store = Store(tmp_path)
    for number, loss in enumerate((float("nan"), 2.0, float("inf"), 1.0)):
        files = {"config.json": "{}", "model.safetensors": "x"}
        put(store, "pretrain", number, files=files, record={"loss": loss}, arguments={"lr": number})
    found = sweep(store, Shelf(store).look(), id=None, stage="pretrain", score="loss")
    assert [one["mean"] for one in found["tries"]] == [1.0, 2.0] and len(found["points"]) == 4


def test_the_rows_are_those_of_the_store_also_after_a_change(lab: Lab, tmp_path: Path) -> None:
    from support.shelf import many, put

    store = many(tmp_path / "home", 10)
    shelf = Shelf(store)
    first = shelf.look()
    assert [row.key for row in first.rows] == [row.key for row in entries(store)]
    key = put(store, "pretrain", 77)
    for _ in range(200):
        if (now := shelf.look()).number > first.number:
            break
        time.sleep(0.05)
    assert key in now.by_key and now.number == first.number + 1


def test_the_command_serves_until_it_is_stopped(lab: Lab) -> None:
    words = [sys.executable, "-m", "ayllu.cli", "lab", "--port", "0", "--home", str(lab.store.home)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    assert process.stderr is not None
    line = process.stderr.readline()
    address = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
    assert get(address, "/api/rows")[1]["total"] == len(entries(lab.store))
    process.terminate()
    assert process.wait(timeout=60) == 0
