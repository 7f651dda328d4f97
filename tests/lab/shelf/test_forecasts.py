"""Forecasts are written down before what they are about, with intervals that follow what came of earlier ones."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ayllu.cli.main import main
from ayllu.evals.calibration import calibration
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.shelf import storage
from ayllu.lab.shelf.forecasts import all_forecasts, forecast, interval, measure, ratios, read_ledger, unreadable
from ayllu.lab.shelf.index import entries
from ayllu.lab.store import Store
from support.shelf import put, taken_in


@stage(identity="forecast.train")
def train(ctx: Context, *, number: int, breaks: bool = False) -> None:
    ctx.predict("seconds", 100)
    ctx.predict("seconds", 999)
    (kept,) = read_ledger(Store(ctx.scratch.parents[2], writes=False))[-1:]
    assert (kept.what, kept.value, kept.measured) == ("seconds", 100, None), "it is there before the run is over"
    if breaks:
        raise ValueError("broken")
    ctx.note("seconds", 110 + number)


def test_a_stage_s_forecast_is_kept_before_it_is_measured(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ValueError):
        resolve(train(number=1, breaks=True), Place(store=store, cache=tmp_path))
    resolve(train(number=1), Place(store=store, cache=tmp_path))
    failed, found = all_forecasts(store, entries(store))
    assert failed.measured is None and found.measured == 111 and found.ratio == pytest.approx(1.11)
    assert found.low is not None and found.high is not None and found.low < 100 < found.high
    report = calibration([failed, found])
    assert (report["n"], report["coverage_pct"], report["open"]) == (1, 100.0, 1)
    assert report["kinds"][0]["factor"] == pytest.approx(1.11)


def test_intervals_narrow_and_move_with_what_came(tmp_path: Path) -> None:
    wide = interval(10.0, [], "seconds")
    assert wide[0] < 10 < wide[1] and wide[1] / wide[0] < 2.5
    taught = interval(10.0, [1.2, 1.21, 1.19, 1.2] * 10, "seconds")
    assert wide[1] / wide[0] > taught[1] / taught[0] and taught[0] > 10, "its forecasters were 20 % too low"
    assert interval(0.0, [1.0], "seconds") == (0.0, 0.0)


def test_four_in_five_intervals_hold(tmp_path: Path) -> None:
    drawn = random.Random(1)
    past: list[float] = []
    held = 0
    for _ in range(600):
        low, high = interval(1.0, past, "seconds")
        came = drawn.lognormvariate(0.3, 0.15)
        held += low <= came <= high
        past.append(came)
    assert 0.76 < held / 600 < 0.84


def test_bits_per_byte_come_from_the_evaluation_of_the_base(tmp_path: Path) -> None:
    store = Store(tmp_path)
    base = put(store, "pretrain", 1, predictions={"bits_per_byte": 1.5})
    record = {"base_bits_per_byte": {"books": 9.0, "everyday-english": 1.6}}
    scores = json.dumps({"sets": {}, "bits_per_byte": {"everyday-english": {"value": 1.2}}})
    inputs = {"base": taken_in("pretrain", base)}
    put(store, "evaluate", 2, inputs=inputs, record=record, files={"scores.json": scores})
    (found,) = all_forecasts(store, entries(store))
    assert (found.value, found.measured, found.inside) == (1.5, 1.6, None)


def test_a_cut_line_costs_no_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = forecast(store, by="plan", what="seconds", value=5.0)
    with (tmp_path / "forecasts.jsonl").open("a") as file:
        file.write('{"id": "cut')
    measure(store, first.id, 6.0)
    measure(store, first.id, 7.0)
    second = forecast(store, by="plan", what="seconds", value=5.0, low=4.0, high=5.5)
    assert [(one.id, one.measured) for one in read_ledger(store)] == [(first.id, 6.0), (second.id, None)]
    assert ratios(read_ledger(store), "plan", "seconds") == [pytest.approx(1.2)]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    first = forecast(store, by="fleet plan", what="seconds", value=5.0)

    def ask(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["calibration", *words, "--home", str(tmp_path)])
        out, err = capsys.readouterr()
        return out if not ended.value.code else err

    assert json.loads(ask("--json"))["coverage_pct"] is None
    found = json.loads(ask("--json", "--measured", f"{first.id}=5.2"))
    assert (found["coverage_pct"], found["n"]) == (100.0, 1)
    told = ask()
    assert "fleet plan: seconds" in told and "100 % of 1" in told
    assert "came of" in ask("--measured", f"{first.id}=9") and "no ID=VALUE" in ask("--measured", "x=soon")


GOOD = {"id": "aa", "at": "2026-01-01", "by": "x", "what": "y", "value": 10, "low": 8, "high": 12, "about": {}}


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": "bb", "at": "2026',
        b"\xff\xfe",
        b"7",
        *(
            json.dumps(GOOD | {"id": "bb"} | wrong).encode()
            for wrong in (
                {"at": None},
                {"by": 5},
                {"about": "x"},
                {"low": "a"},
                {"value": float("nan")},
                {"value": True},
                {"value": 10**400},
            )
        ),
        b'{"id": "aa", "at": "2026", "measured": Infinity}',
        b'{"id": "nobody", "at": "2026", "measured": 3}',
    ],
)
def test_a_damaged_line_is_counted_and_costs_no_other(
    line: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "forecasts.jsonl").write_bytes(line + b"\n" + json.dumps(GOOD).encode() + b"\n" + line + b"\n\n")
    store = Store(tmp_path, writes=False)
    (kept,) = all_forecasts(store, [])
    assert (kept.id, kept.measured, unreadable(store)) == ("aa", None, 2)
    with pytest.raises(SystemExit):
        main(["calibration", "--home", str(tmp_path)])
    assert "left out, for they cannot be read: 2 of the lines" in capsys.readouterr().out


def test_a_ledger_that_is_no_file_is_told_and_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / "forecasts.jsonl").mkdir()
    store = Store(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        read_ledger(store)
    assert forecast(store, by="x", what="seconds", value=3.0).value == 3.0


def test_intervals_of_a_stage_follow_what_came_of_its_earlier_runs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(40, 60):
        resolve(train(number=number), Place(store=store, cache=tmp_path))
    first, *_, last = read_ledger(store)
    assert first.low is not None and first.high is not None and last.low is not None and last.high is not None
    assert first.low * first.high == pytest.approx(100.0**2), "of the first nothing was known"
    assert last.low > 115, "its runs took half as long again as it says"
    assert last.high / last.low < first.high / first.low


def test_what_came_stays_when_the_result_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    resolve(train(number=1), Place(store=store, cache=tmp_path))
    before = [(one.id, one.measured) for one in all_forecasts(store, entries(store))]
    assert [measured for _, measured in before] == [111]
    storage.remove(store, storage.removable(store, days=7))
    assert not [row for row in entries(store) if row.kind != "run"]
    assert [(one.id, one.measured) for one in all_forecasts(store, entries(store))] == before


def test_what_a_later_result_says_of_a_removed_one_stays(tmp_path: Path) -> None:
    """The bits per byte of a training are measured by another stage, by whatever removes them at the latest."""
    store = Store(tmp_path)
    base = put(store, "pretrain", 1, predictions={"bits_per_byte": 1.5})
    forecast(store, by="pretrain", what="bits_per_byte", value=1.5, about={"stage": "pretrain", "key": base})
    scores = json.dumps({"sets": {}, "bits_per_byte": {"everyday-english": {"value": 1.2}}})
    put(store, "evaluate", 2, inputs={"model": taken_in("pretrain", base)}, files={"scores.json": scores})
    storage.remove(store, storage.removable(store, days=7))
    assert [one.measured for one in all_forecasts(store, entries(store))] == [1.2]


def test_labels_that_cannot_be_read_stop_no_run_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text("{")
    resolve(train(number=1), Place(store=Store(tmp_path), cache=tmp_path))
