"""Running stages: once for each key, whole or not at all, and on from where a killed process stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ayllu.lab.channel import follow, promote
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from ayllu.lab.why import explain, outline

calls: list[str] = []


def read_number(folder: Path) -> int:
    return int((folder / "number").read_text())


@stage(makes=read_number)
def constant(ctx: Context, *, value: int, note: str = "") -> None:
    calls.append("constant")
    (ctx.folder / "number").write_text(str(value))


@stage(makes=read_number)
def double(ctx: Context, number: Handle[int], *, times: int = 2) -> None:
    calls.append("double")
    ctx.predict("number", 7)
    ctx.predict("number", 8)
    ctx.note("number", number.value * times)
    (ctx.folder / "number").write_text(str(number.value * times))


@stage()
def fails(ctx: Context) -> None:
    (ctx.folder / "half").write_text("half")
    raise UserError("this cannot work")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    calls.clear()
    return Place(store=Store(tmp_path / "home"), cache=tmp_path / "cache")


def test_a_stage_runs_once_for_each_key(place: Place) -> None:
    for _ in range(2):
        handle = double(constant(value=4))
        made = resolve(handle, place)[handle]
        assert read_number(made.folder) == 8
    assert calls == ["constant", "double"]
    assert made.manifest["predictions"] == {"number": 7}
    assert made.record["number"] == 8


def test_calling_a_stage_runs_nothing(place: Place) -> None:
    double(constant(value=4))
    assert calls == []


def test_equal_content_of_an_input_does_not_rerun_what_follows(place: Place) -> None:
    resolve(double(constant(value=4)), place)
    resolve(double(constant(value=4, note="other argument, same bytes")), place)
    assert calls == ["constant", "double", "constant"]


def test_unknown_and_unstable_arguments_are_refused_when_called() -> None:
    with pytest.raises(TypeError):
        constant(values=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="constant: value"):
        constant(value=object())  # type: ignore[arg-type]


def test_a_failing_stage_leaves_no_artifact(place: Place) -> None:
    with pytest.raises(UserError):
        resolve(fails(), place)
    assert list(place.store.artifacts.iterdir()) == []


def test_a_damaged_artifact_is_set_aside_and_made_again(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    handle = constant(value=4)
    made = resolve(handle, place)[handle]
    (made.folder / "number").write_text("44")
    assert read_number(resolve(handle, place)[handle].folder) == 4
    assert calls == ["constant", "constant"]
    assert "damaged" in capsys.readouterr().err


def test_why_names_what_changed(place: Place) -> None:
    assert [row.state for row in explain(double(constant(value=4)), place)] == ["runs", "runs"]
    resolve(double(constant(value=4)), place)
    assert [row.state for row in explain(double(constant(value=4)), place)] == ["kept", "kept"]
    rows = explain(double(constant(value=4), times=3), place)
    assert rows[0].state == "kept"
    assert rows[1].why == "argument times is 3, was 2"
    assert rows[1].changed == ("argument times",)


def test_a_run_begins_with_what_is_before_it(place: Place) -> None:
    def told(times: int) -> list[str]:
        return outline("numbers", explain(double(constant(value=4), times=times), place))

    first = told(2)
    assert first[0] == "numbers: 2 stages, 0 there already, 2 to make"
    assert [line.split()[-2:] for line in first[1:-1]] == [["to", "make"]] * 2
    assert "no time is known" in first[-1]
    resolve(double(constant(value=4)), place)
    assert told(2) == ["numbers: all 2 stages are there already"]
    head, kept, made, sum_ = told(3)
    assert head == "numbers: 2 stages, 1 there already, 1 to make"
    assert kept.endswith("there already") and made.endswith("to make, 00:00 the last time")
    assert sum_.startswith("the like of 1 of them took 00:00")


def test_an_unwritable_home_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--home"):
        Store(tmp_path / "file" / "home")


KILLED = """
import sys, time
from pathlib import Path
from ayllu.lab.run import Place, resolve
from ayllu.lab.graph import stage
from ayllu.lab.store import Store

@stage()
def count(ctx):
    ctx.predict("start", time.time())
    path = ctx.scratch / "count"
    while (done := int(path.read_text()) if path.exists() else 0) < 40:
        if done == int(sys.argv[2]):
            time.sleep(600)  # until it is killed
        path.with_suffix(".new").write_text(str(done + 1))
        path.with_suffix(".new").rename(path)
    (ctx.folder / "count").write_text(path.read_text())

handle = count()
made = resolve(handle, Place(store=Store(Path(sys.argv[1])), cache=Path(sys.argv[1])))
print(made[handle].folder)
"""


def test_a_killed_run_goes_on_and_keeps_its_first_prediction(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(KILLED)
    journal = next_journal = None
    for reach in (5, 15, 25):
        command = [sys.executable, str(program), str(tmp_path / "home"), str(reach)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while True:
            found = list((tmp_path / "home").glob("partial/*/scratch/count"))
            if found and int(found[0].read_text()) == reach:
                break
            assert process.poll() is None
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        (journal_path,) = (tmp_path / "home").glob("partial/*/scratch/record.json")
        next_journal = json.loads(journal_path.read_text())["predictions"]
        assert journal in (None, next_journal)
        journal = next_journal
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "home"), "-1"], capture_output=True, text=True, check=True
    )
    folder = Path(done.stdout.strip())
    assert (folder / "count").read_text() == "40"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["predictions"] == journal
    assert manifest["record"]["attempts"] == 4
    assert not list((tmp_path / "home" / "partial").glob("*count-*/"))


def test_channels_point_and_remember(place: Place) -> None:
    store = place.store
    for value in (1, 2, 2):
        handle = constant(value=value)
        promote(store, "numbers", resolve(handle, place)[handle].folder)
    assert read_number(follow(store, "numbers")) == 2
    history = json.loads((store.home / "channels" / "numbers.json").read_text())["history"]
    assert len(history) == 2
    with pytest.raises(UserError, match="no model 'other'"):
        follow(store, "other")
    with pytest.raises(UserError, match="cannot name a channel"):
        promote(store, "../x", follow(store, "numbers"))
