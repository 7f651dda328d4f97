"""Machines that share a store: nothing is made twice, nothing is believed that was not checked, nothing is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ayllu.cli.main import main
from ayllu.lab.channel import follow, promote
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store, read_manifest, thing_of
from ayllu.lab.team import exchange
from ayllu.lab.team.lease import Lease, Pace, Waiting
from ayllu.lab.team.objects import FolderObjects, open_objects
from ayllu.lab.team.shared import OtherResult, Team

QUICK = Pace(beat=0.02, lease=0.4)
MADE: list[str] = []


@stage(identity="team.text")
def text(ctx: Context, *, words: str) -> None:
    MADE.append(words)
    (ctx.folder / "deep").mkdir()
    (ctx.folder / "deep" / "text.txt").write_text(words * 1000)
    (ctx.folder / "config.json").write_text("{}")


@stage(identity="team.count")
def count(ctx: Context, source: Handle[Path]) -> None:
    MADE.append("count")
    ctx.note("letters", len((source.value / "deep" / "text.txt").read_text()))
    (ctx.folder / "config.json").write_text(json.dumps(ctx.record))


@stage(identity="team.drawn")
def drawn(ctx: Context) -> None:
    (ctx.folder / "drawn").write_bytes(os.urandom(32))


def team_at(url: str) -> Team:
    return Team(open_objects(url), pace=QUICK)


def place_of(home: Path, url: str) -> Place:
    return Place(store=Store(home), cache=home / "cache", team=team_at(url))


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def _nothing_made() -> None:
    MADE.clear()


def test_a_second_machine_takes_what_the_first_has_made(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = count(text(words="llama"))
    first = resolve(wanted, place_of(tmp_path / "a", url))[wanted]
    assert MADE == ["llama", "count"]
    second = resolve(wanted, place_of(tmp_path / "b", url))[wanted]
    assert MADE == ["llama", "count"], "nothing was made again"
    assert second.folder.is_relative_to(tmp_path / "b") and second.manifest == first.manifest
    assert "team.count: brought from " in capsys.readouterr().err
    objects = open_objects(url)
    assert not [name for each in objects.names("leases") for name in objects.names(f"leases/{each}")], (
        "no lease is left"
    )


def test_many_machines_make_each_thing_once(url: str, tmp_path: Path) -> None:
    wanted = count(text(words="alpaca"))
    found: list[str] = []

    def run(home: Path) -> None:
        found.append(resolve(wanted, place_of(home, url))[wanted].manifest["digest"])

    threads = [threading.Thread(target=run, args=(tmp_path / f"home-{number}",)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 5 and len(set(found)) == 1
    assert sorted(MADE) == ["alpaca", "count"]


def test_what_a_killed_machine_was_making_is_made_by_another(url: str, tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from ayllu.lab.graph import Context, stage\n"
        "from ayllu.lab.run import Place, resolve\n"
        "from ayllu.lab.store import Store\n"
        "from ayllu.lab.team.lease import Pace\n"
        "from ayllu.lab.team.objects import open_objects\n"
        "from ayllu.lab.team.shared import Team\n"
        "@stage(identity='team.text')\n"
        "def text(ctx: Context, *, words: str) -> None:\n"
        "    print('at it', flush=True)\n"
        "    time.sleep(60)\n"
        "team = Team(open_objects(sys.argv[2]), pace=Pace(beat=0.05))\n"
        "resolve(text(words='vicuna'), Place(store=Store(Path(sys.argv[1])), cache=Path(sys.argv[1]), team=team))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a"), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as other:
        assert other.stdout and other.stdout.readline() == "at it\n"
        mine = threading.Thread(target=resolve, args=(text(words="vicuna"), place_of(tmp_path / "b", url)))
        mine.start()
        time.sleep(3 * QUICK.lease)
        assert MADE == [], "a living one is waited for"
        other.send_signal(signal.SIGKILL)
    mine.join()
    assert MADE == ["vicuna"]


def test_two_that_were_made_differ_and_the_team_keeps_the_first(url: str, tmp_path: Path) -> None:
    wanted = drawn()
    made = [resolve(wanted, Place(store=Store(tmp_path / name), cache=tmp_path))[wanted].folder for name in ("a", "b")]
    team = team_at(url)
    assert team.push(made[0]) and not team.push(made[0])
    with pytest.raises(OtherResult):
        team.push(made[1])
    with pytest.raises(UserError, match=r"has another result for team.drawn-"):
        exchange.push(team, made[1:])
    (row,) = exchange.pull(team, Store(tmp_path / "b"), [made[1].name], alone=True)
    assert row["new"]
    assert (made[1] / "drawn").read_bytes() == (made[0] / "drawn").read_bytes()


def test_who_lost_its_lease_takes_what_the_other_made(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A machine that slept for longer than a lease lasts: another has followed it and was faster."""
    wanted = drawn()
    theirs = resolve(wanted, Place(store=Store(tmp_path / "other"), cache=tmp_path))[wanted]

    class Sleeper(Team):
        def push(self, folder: Path, progress: object = None) -> bool:
            if folder.is_relative_to(tmp_path / "mine"):
                Team.push(self, theirs.folder)
            return super().push(folder)

    place = Place(store=Store(tmp_path / "mine"), cache=tmp_path, team=Sleeper(open_objects(url), pace=QUICK))
    mine = resolve(wanted, place)[wanted]
    assert mine.manifest["digest"] == theirs.manifest["digest"]
    assert "another machine has finished it meanwhile; its result is the team's and is used" in capsys.readouterr().err


def spoil(url: str, name: str, data: bytes | None) -> None:
    objects = open_objects(url)
    if data is None:
        objects.remove(name)
    else:
        objects.write(name, data)


def blob_of(folder: Path, file: str) -> str:
    digest = read_manifest(folder)["files"][file]["sha256"]
    return f"blobs/{digest[:2]}/{digest}"


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damage_is_told_and_nothing_of_it_is_kept(url: str, tmp_path: Path, damage: str) -> None:
    wanted = text(words="guanaco")
    made = resolve(wanted, place_of(tmp_path / "a", url))[wanted].folder
    blob = blob_of(made, "deep/text.txt")
    whole = open_objects(url).read(blob)
    spoil(url, blob, {"cut": whole[:-1], "changed": b"G" + whole[1:], "gone": None}[damage])
    told = "is missing" if damage == "gone" else "is damaged"
    with pytest.raises(UserError, match=rf"'deep/text.txt' of team.text-.* {told} in the team's store"):
        resolve(wanted, place_of(tmp_path / "b", url))
    assert not list((tmp_path / "b" / "artifacts").iterdir())
    assert MADE == ["guanaco"], "damage is nothing that another result is made for in silence"
    if damage == "changed":  # which nobody sees without reading it
        spoil(url, blob, None)
    exchange.push(team_at(url), [made])
    again = resolve(wanted, place_of(tmp_path / "b", url))[wanted]
    assert (again.folder / "deep" / "text.txt").read_text() == "guanaco" * 1000
    assert MADE == ["guanaco"]


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"../../escaped": {"bytes": 1, "sha256": "a" * 64}}},
        {"files": {"/tmp/escaped": {"bytes": 1, "sha256": "a" * 64}}},
        {"files": {"x": {"bytes": 1, "sha256": "../" * 21 + "a"}}},
        {"key": "b" * 64},
        {"stage": "../../team"},
        {"checksum": "0" * 64},
    ],
)
def test_a_manifest_that_somebody_wrote_leads_nowhere_else(tmp_path: Path, change: dict[str, object]) -> None:
    from ayllu.lab.store import write_manifest

    (tmp_path / "team").mkdir()
    wanted = text(words="huemul")
    made = resolve(wanted, place_of(tmp_path / "a", str(tmp_path / "team")))[wanted].folder
    path = tmp_path / "team" / "artifacts" / f"{made.name}.json"
    manifest = json.loads(path.read_text()) | change
    if "checksum" in change:
        path.write_text(json.dumps(manifest))
    else:
        write_manifest(tmp_path, manifest)
        path.write_bytes((tmp_path / "manifest.json").read_bytes())
    with pytest.raises(UserError, match=r"is damaged|is the manifest of something else"):
        resolve(wanted, place_of(tmp_path / "b", str(tmp_path / "team")))
    assert not list(tmp_path.glob("**/escaped"))


def test_a_store_that_fails_at_the_end_costs_no_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "team").mkdir()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FolderObjects, "put", fail)
    wanted = text(words="taruka")
    made = resolve(wanted, place_of(tmp_path / "a", str(tmp_path / "team")))[wanted]
    assert (made.folder / "deep" / "text.txt").is_file()
    assert "made, but not handed in: the team's store" in capsys.readouterr().err
    monkeypatch.undo()
    assert isinstance(Waiting(team_at(str(tmp_path / "team")).objects, made.folder.name, pace=QUICK).look(), Lease)


def test_a_push_that_is_killed_leaves_nothing_that_counts(tmp_path: Path) -> None:
    """After each number of writes: either the artifact is whole in the store, or it is not there."""
    wanted = text(words="chulengo")
    made = resolve(wanted, Place(store=Store(tmp_path / "a"), cache=tmp_path))[wanted].folder
    left = [0]

    class Killed(BaseException):
        pass

    class Dying(FolderObjects):
        def _count(self) -> None:
            if left[0] == 0:
                raise Killed
            left[0] -= 1

        def put(self, name: str, file: Path) -> None:
            self._count()
            super().put(name, file)

        def create(self, name: str, data: bytes) -> bool:
            self._count()
            return super().create(name, data)

    for writes in range(4):
        place = tmp_path / f"team-{writes}"
        place.mkdir()
        left[0] = writes
        try:
            Team(Dying(place)).push(made)
        except Killed:
            assert Team(FolderObjects(place)).manifest(made.name) is None
            assert Team(FolderObjects(place)).push(made), "and the next one goes on"
        (row,) = exchange.pull(Team(FolderObjects(place)), Store(tmp_path / f"b-{writes}"), [made.name], alone=True)
        assert row["new"]
    assert left[0] == 0 and Team(FolderObjects(place)).manifest(made.name), "the last one was not killed"


def test_names_mean_the_same_there_and_here(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = count(text(words="llama"))
    made = resolve(wanted, Place(store=Store(tmp_path / "a"), cache=tmp_path))[wanted].folder
    promote(Store(tmp_path / "a"), "counted", made)
    assert command("push", "counted", "--to", url, "--home", str(tmp_path / "a")) == 0
    assert "2 sent, 0 there already" in capsys.readouterr().out
    assert command("pull", "--from", url, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["artifacts"]
    assert [row["names"] for row in rows] == [["counted"], []]
    assert command("pull", "counted", "--from", url, "--home", str(tmp_path / "b"), "--json") == 0
    rows = json.loads(capsys.readouterr().out)["artifacts"]
    assert [row["new"] for row in rows] == [True, True]
    store = Store(tmp_path / "b")
    assert follow(store, "counted") == store.path("team.count", read_manifest(made)["key"])
    assert resolve(wanted, Place(store=store, cache=tmp_path))[wanted].manifest == read_manifest(made)
    assert MADE == ["llama", "count"], "what it was made from came along"
    key = read_manifest(made)["key"]
    assert command("pull", key[:8], "--from", url, "--home", str(tmp_path / "b"), "--alone") == 0
    assert "0 brought, 1 here already" in capsys.readouterr().out


def test_a_name_does_not_mean_what_may_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    wanted = text(words="llama")
    made = resolve(wanted, Place(store=Store(tmp_path / "a"), cache=tmp_path))[wanted].folder
    team = team_at(str(tmp_path / "team"))
    exchange.push(team, [made])
    team.call("taken-back", "team.text", read_manifest(made)["key"])

    def refuse(folder: Path) -> None:
        raise UserError(f"{folder.name} was taken back")

    store = Store(tmp_path / "b")
    with pytest.raises(UserError, match="was taken back"):
        exchange.pull(team, store, ["taken-back"], alone=True, check=refuse)
    with pytest.raises(UserError, match="there is no model 'taken-back'"):
        follow(store, "taken-back")


def test_names_of_two_who_push_at_once_are_both_kept_in_order(url: str, tmp_path: Path) -> None:
    team = team_at(url)
    keys = [f"{number:064x}" for number in range(6)]
    threads = [threading.Thread(target=team.call, args=("model", "team.text", key)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = team.objects.names("names/model")
    assert len(entries) >= len(keys)
    meant = team.meaning("model")
    assert meant is not None and meant[0] == "team.text" and meant[1] in keys


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["push", "nothing"], "no team's store is named; give --to FOLDER or s3://BUCKET/FOLDER, or set AYLLU_"),
        (["push"], "nothing is named"),
        (["pull", "nothing", "--from", "TEAM"], "nothing in TEAM is called 'nothing'; `ayllu pull` alone lists"),
        (["pull", "--from", "TEAM/gone"], "there is no folder TEAM/gone; make it, or see whether its disk is mounted"),
        (["push", "nothing", "--to", "TEAM"], "is called 'nothing'"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "team").mkdir()
    team = str(tmp_path / "team")
    assert command(*(word.replace("TEAM", team) for word in words), "--home", str(tmp_path / "home")) == 2
    assert re.sub(r"\bTEAM", team, told) in capsys.readouterr().err


def test_a_damaged_result_here_is_brought_again(url: str, tmp_path: Path) -> None:
    wanted = text(words="llama")
    place = place_of(tmp_path / "a", url)
    made = resolve(wanted, place)[wanted].folder
    (made / "deep" / "text.txt").write_text("x")
    again = resolve(wanted, place)[wanted].folder
    assert (again / "deep" / "text.txt").read_text() == "llama" * 1000
    assert MADE == ["llama"]


def test_a_job_of_several_processes_does_without(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    place = Place(store=Store(tmp_path), cache=tmp_path, layout=object(), team=team_at(str(tmp_path / "team")))
    with pytest.raises(UserError, match="leave the team out, and `ayllu push` later"):
        resolve(text(words="x"), place)


def test_thing_of_is_the_folder_of_a_store(tmp_path: Path) -> None:
    wanted = text(words="x")
    made = resolve(wanted, Place(store=Store(tmp_path), cache=tmp_path))[wanted]
    assert thing_of(made.manifest) == made.folder.name
