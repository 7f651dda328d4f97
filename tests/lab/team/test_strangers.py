"""What somebody else has put into a team's store: it is told in a sentence, leads nowhere, and stops nothing else."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from ayllu.cli.main import main
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.shelf import storage
from ayllu.lab.shelf.jobs import live_jobs
from ayllu.lab.store import MANIFEST, Store, read_manifest, write_manifest
from ayllu.lab.team import exchange
from ayllu.lab.team.lease import Lease, Pace, Waiting
from ayllu.lab.team.objects import FolderObjects
from ayllu.lab.team.shared import Team

QUICK = Pace(beat=0.02, lease=0.4)


@stage(identity="strangers.text")
def text(ctx: Context, *, words: str) -> None:
    (ctx.folder / "text.txt").write_text(words)


@stage(identity="strangers.count")
def count(ctx: Context, source: Handle[Path]) -> None:
    (ctx.folder / "count.txt").write_text(str(len((source.value / "text.txt").read_text())))


@pytest.fixture
def team(tmp_path: Path) -> Team:
    (tmp_path / "team").mkdir()
    return Team(FolderObjects(tmp_path / "team"), pace=QUICK)


@pytest.fixture
def made(tmp_path: Path, team: Team) -> Path:
    wanted = count(text(words="llama"))
    return resolve(wanted, Place(store=Store(tmp_path / "a"), cache=tmp_path, team=team))[wanted].folder


def forge(made: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    """A manifest in the team's store, with a checksum that fits."""
    manifest = read_manifest(made) | change
    write_manifest(tmp_path, manifest)
    place = tmp_path / "team" / "artifacts" / f"{manifest['stage']}-{manifest['key'][:16]}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / MANIFEST).rename(place)


AWAY = {"stage": "../away/x", "key": "c" * 64, "digest": "d" * 64}
FILE = {"bytes": 1, "sha256": "a" * 64}


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": {"source": AWAY}},
        {"inputs": [1]},
        {"inputs": {"source": 1}},
        {"inputs": {"source": {"stage": 1, "key": None}}},
        {"files": {"": FILE}},
        {"files": {".": FILE}},
        {"files": {"a": FILE, "a/b": FILE}},
        {"files": {"a//b": FILE}},
        {"files": {MANIFEST: FILE}},
        {"files": {"x" * 300 + "/y": FILE}},
        {"files": {"a": FILE | {"bytes": 10**400}}},
        {"files": {"a": FILE | {"bytes": -1}}},
    ],
)
def test_a_forged_manifest_is_told_and_leads_nowhere(
    change: dict[str, Any], tmp_path: Path, team: Team, made: Path
) -> None:
    forge(made, tmp_path, AWAY | {"inputs": {}})
    forge(made, tmp_path, change)
    with pytest.raises(UserError, match="is the manifest of something else; remove it"):
        exchange.pull(team, Store(tmp_path / "b"), [made.name], alone=False)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["artifacts", "partial"]
    assert not [path for path in (tmp_path / "b").rglob("*") if path.is_file()]


def test_a_result_that_is_said_to_be_made_from_itself_is_brought_once(tmp_path: Path, team: Team, made: Path) -> None:
    own = {field: read_manifest(made)[field] for field in ("stage", "key", "digest")}
    forge(made, tmp_path, {"inputs": {"source": own}})
    rows = exchange.pull(team, Store(tmp_path / "b"), [made.name], alone=False)
    assert [row["artifact"] for row in rows] == [made.name]
    assert exchange.behind(Store(tmp_path / "b"), [tmp_path / "b" / "artifacts" / made.name], alone=False)


def test_a_file_of_others_beside_a_name_does_not_keep_it_from_moving(team: Team) -> None:
    team.call("model", "strangers.text", "1" * 64)
    for name in ("Thumbs.db", "zzz.json", "000009 (copy).json"):
        team.objects.write(f"names/model/{name}", b"?")
    moving = threading.Thread(target=team.call, args=("model", "strangers.text", "2" * 64), daemon=True)
    moving.start()
    moving.join(60)
    assert not moving.is_alive(), "it tries for ever"
    assert team.meaning("model") == ("strangers.text", "2" * 64)


def test_one_damaged_name_does_not_hide_the_others(
    team: Team, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    team.call("model", "strangers.count", read_manifest(made)["key"])
    team.objects.write("names/bad/000001.json", b"?")
    team.objects.write("names/README", b"?")
    with pytest.raises(SystemExit) as ended:
        main(["pull", "--from", str(tmp_path / "team"), "--json"])
    assert ended.value.code in (0, None)
    told = capsys.readouterr()
    assert ["model"] in [row["names"] for row in json.loads(told.out)["artifacts"]]
    assert "names/bad/000001.json is damaged; remove it, and push 'bad' again" in told.err


def test_a_file_that_is_gone_here_is_not_told_of_the_store(tmp_path: Path, made: Path) -> None:
    (made / "count.txt").unlink()
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=r"count.txt cannot be read .*; make it again first"):
        exchange.push(Team(FolderObjects(tmp_path / "other")), [made])


def test_a_full_disk_here_is_not_told_of_the_store(
    tmp_path: Path, team: Team, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: FolderObjects, name: str, file: Path) -> None:
        file.write_text("a part of it")
        raise OSError(28, "No space left on device", str(self.folder / name), None, str(file))

    monkeypatch.setattr(FolderObjects, "get", full)
    with pytest.raises(UserError, match=r"No space left on device; make room or choose another folder with --home"):
        exchange.pull(team, Store(tmp_path / "b"), [made.name], alone=True)
    assert not list((tmp_path / "b" / "partial").glob("*/")), "nor is a part of it kept"


def test_a_store_that_fails_right_after_a_lease_was_had_leaves_nobody_waiting(
    tmp_path: Path, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process may live on for hours: a sweep whose trial failed."""
    reads = FolderObjects.read

    def read(self: FolderObjects, name: str) -> bytes:
        if name.startswith("artifacts/") and self.names("leases"):
            raise TimeoutError("the network is down")
        return reads(self, name)

    monkeypatch.setattr(FolderObjects, "read", read)
    wanted = text(words="vicuna")
    with pytest.raises(UserError, match="cannot be used"):
        resolve(wanted, Place(store=Store(tmp_path / "a"), cache=tmp_path, team=team))
    (thing,) = team.objects.names("leases")
    assert isinstance(Waiting(team.objects, thing, pace=Pace(lease=1e6)).look(), Lease)


def test_what_is_brought_stays_until_its_name_means_it_and_leaves_nothing_unfinished(
    tmp_path: Path, team: Team, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.call("model", "strangers.count", read_manifest(made)["key"])
    store, seen = Store(tmp_path / "b"), []
    promotes = exchange.promote

    def promote(*given: Any, **named: Any) -> None:
        seen.append(([item.name for item in storage.removable(store, days=0)], len(live_jobs(store))))
        promotes(*given, **named)

    monkeypatch.setattr(exchange, "promote", promote)
    exchange.pull(team, store, ["model"], alone=False)
    assert seen == [([], 1)], "`gc` would take what nothing needs yet"
    assert not live_jobs(store) and not list(store.partial.glob("*/"))


def test_work_that_another_finished_is_not_left_as_interrupted(tmp_path: Path, team: Team, made: Path) -> None:
    """This machine was killed in the middle of it, and the team has it by now."""
    left = tmp_path / "b" / "partial" / made.name
    (left / "scratch").mkdir(parents=True)
    (left / "begun.json").write_text("{}")
    wanted = count(text(words="llama"))
    resolve(wanted, Place(store=Store(tmp_path / "b"), cache=tmp_path, team=team))
    assert not left.exists()
