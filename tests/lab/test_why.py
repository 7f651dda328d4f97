"""Nothing changed is served in silence: what changed is named, costed, settled by its author, or made again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
from pathlib import Path
import room
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from ayllu.lab.why import accept, explain

def halved(x):
    return room.helper(x) // 1

@stage(identity="test.number", makes=lambda folder: int((folder / "n").read_text()))
def number(ctx: Context) -> None:
    (ctx.folder / "n").write_text(str(halved(1)))

@stage(identity="test.page", reruns=True)
def page(ctx: Context, of: Handle[int]) -> None:
    (ctx.folder / "page").write_text(room.written(of.value))

handle = page(number())
place = Place(store=Store(Path(sys.argv[2])), cache=Path(sys.argv[2]))
if sys.argv[1] == "run":
    made = resolve(handle, place)
    print(json.dumps((made[handle].folder / "page").read_text()))
elif sys.argv[1] == "accept":
    print(json.dumps(accept(handle, place)))
else:
    print(json.dumps([reason.as_json() for reason in explain(handle, place)]))
"""
ROOM = """
def clean(x):
    return helper(x)

def helper(x):
    return x + 1

def written(n):
    return f"page of {n}"

def apart():
    return 1
"""


class Lab:
    """A program with two stages, and a module that they call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "program.py").write_text(PROGRAM)
        (folder / "room.py").write_text(ROOM)
        self.said = ""

    def change(self, old: str, new: str) -> None:
        path = self.folder / "room.py"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def do(self, what: str) -> object:
        command = [sys.executable, "-B", str(self.folder / "program.py"), what, str(self.folder / "home")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        self.said = done.stderr
        return json.loads(done.stdout)

    def why(self) -> list[tuple[str, str, list[str]]]:
        rows = self.do("why")
        assert isinstance(rows, list)
        return [(row["stage"], row["state"], row["changed"]) for row in rows]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    found = Lab(tmp_path)
    assert found.do("run") == "page of 2"
    return found


def test_a_function_behind_the_body_that_changed_is_named_and_nothing_expensive_reruns(lab: Lab) -> None:
    lab.change("x + 1", "x + 2")
    assert lab.why() == [("test.number", "kept, code changed", ["room.helper"]), ("test.page", "kept", [])]
    rows = lab.do("why")
    assert isinstance(rows, list)
    assert "making it again takes 00:00" in rows[0]["why"]
    assert lab.do("run") == "page of 2"
    (line,) = (line for line in lab.said.splitlines() if line.startswith("test.number"))
    assert "there already, made by other code: room.helper changed since" in line


def test_accepting_settles_it_until_the_next_change(lab: Lab) -> None:
    lab.change("x + 1", "x + 2")
    assert lab.do("accept") == ["test.number"]
    assert [state for _, state, _ in lab.why()] == ["kept", "kept"]
    lab.do("run")
    assert "changed" not in lab.said
    assert lab.do("accept") == []
    lab.change("x + 2", "x + 3")
    assert lab.why()[0] == ("test.number", "kept, code changed", ["room.helper"])


def test_a_cheap_stage_that_asks_for_it_is_made_again(lab: Lab) -> None:
    lab.change("page of", "leaf of")
    assert lab.why()[1] == ("test.page", "kept, code changed", ["room.written"])
    assert lab.do("run") == "leaf of 2"
    assert "test.page: made again, for its code has changed: room.written" in lab.said
    assert [state for _, state, _ in lab.why()] == ["kept", "kept"]
    assert [path.suffix for path in (lab.folder / "home" / "artifacts").glob("test.page-*.*")] == []


def test_a_change_that_no_stage_reaches_says_nothing(lab: Lab) -> None:
    lab.change("return 1", "return 2")
    assert [state for _, state, _ in lab.why()] == ["kept", "kept"]
    lab.do("run")
    assert "changed" not in lab.said
