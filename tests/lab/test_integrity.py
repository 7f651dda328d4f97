"""What is used is what was written: damage is found, said and made good, and what is whole costs nothing."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ayllu.lab import integrity
from ayllu.lab.channel import check_listed, find_model, promote
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.key import file_digest
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import MANIFEST, Store
from ayllu.lab.why import explain
from support.models import save_tiny_model

calls: list[str] = []
during: list[Callable[[], None]] = []


@stage(identity="test.text")
def text(ctx: Context, *, words: str = "a page of words") -> None:
    calls.append("text")
    (ctx.folder / "deep").mkdir()
    (ctx.folder / "deep" / "text.txt").write_text(words)
    (ctx.folder / "empty").touch()
    (ctx.folder / "config.json").write_text("{}")


@stage(identity="test.count", makes=lambda folder: int((folder / "count").read_text()))
def count(ctx: Context, of: Handle[Path]) -> None:
    calls.append("count")
    (ctx.folder / "count").write_text(str(len((of.value / "deep" / "text.txt").read_text())))
    while during:
        during.pop()()


@stage(identity="test.published", publishes=True)
def published(ctx: Context, source: Handle[Path], number: Handle[int]) -> None:
    calls.append("published")
    shown = (source.value / "deep" / "text.txt").read_text()
    (ctx.folder / "page").write_text(f"{shown}: {number.value}")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    calls.clear()
    during.clear()
    return Place(store=Store(tmp_path / "home"), cache=tmp_path / "cache")


def recipe() -> Handle[Path]:
    source = text()
    return published(source, count(source))


def page(place: Place) -> str:
    handle = recipe()
    return (resolve(handle, place)[handle].folder / "page").read_text()


def flip(path: Path) -> None:
    """One bit of the file in the middle, and the time put back as it was."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE = {"flipped": flip, "cut": cut, "gone": Path.unlink, "a folder": replaced_by_a_folder}


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_to_any_file_of_a_store_is_noticed_said_and_made_good(
    place: Place, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert page(place) == "a page of words: 15"
    files = [path for path in place.store.artifacts.rglob("*") if path.is_file() and path.stat().st_size]
    assert len(files) == 3 + 4
    for path in files:
        kept = path.read_bytes()
        capsys.readouterr()
        DAMAGE[how](path)
        assert page(place) == "a page of words: 15"
        assert "damaged" in capsys.readouterr().err, path
        assert path.name == MANIFEST or path.read_bytes() == kept


@pytest.mark.parametrize("content", [b"[]", b"null", b"", b"\xff\xfe", b"7", b'{"files": {"../x": 1}}', b"[" * 100_000])
def test_a_manifest_that_is_none_is_damage(place: Place, content: bytes) -> None:
    page(place)
    for path in place.store.artifacts.glob(f"*/{MANIFEST}"):
        path.write_bytes(content)
    assert [row.state for row in explain(recipe(), place)] == ["runs"] * 3
    assert page(place) == "a page of words: 15"
    assert calls == ["text", "count", "published"] * 2


@pytest.mark.parametrize("content", [b"[]", b"null", b"", b"\xff", b'{"record": 5, "predictions": {}}', b"{}"])
def test_notes_of_unfinished_work_that_are_damaged_are_begun_anew(
    place: Place, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    during.append(stop)
    with pytest.raises(KeyboardInterrupt):
        page(place)
    (notes,) = place.store.partial.glob("test.count-*/scratch/record.json")
    notes.write_bytes(content)
    assert page(place) == "a page of words: 15"
    assert f"{notes} is damaged" in capsys.readouterr().err


def test_nothing_is_read_again_while_nothing_changes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    page(place)
    time.sleep(2 * integrity.FINE_NS / 1e9)
    page(place)
    read: list[Path] = []
    monkeypatch.setattr(integrity, "file_digest", lambda path, told: (read.append(path), file_digest(path))[1])
    page(place)
    assert read == []
    (place.store.artifacts / "test.x").mkdir()
    (changed,) = place.store.artifacts.glob("test.text-*/config.json")
    changed.touch()
    page(place)
    assert read == [changed]
    assert calls == ["text", "count", "published"]


def test_before_a_release_every_byte_is_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk has lost shows in no time and no size: only reading finds it."""
    source = text()
    made = resolve(count(source), place)
    (lost,) = (made[node].folder / "deep" / "text.txt" for node in made if node.stage.identity == "test.text")
    monkeypatch.setattr(integrity, "_facts", lambda path: [path.stat().st_size] * 4)
    resolve(count(text()), place)
    flip(lost)
    resolve(count(text()), place)
    assert calls == ["text", "count"], "nothing tells that it has changed"
    assert page(place) == "a page of words: 15"
    assert calls == ["text", "count", "text", "published"]


def test_what_is_damaged_while_others_run_is_made_again_before_it_is_used(place: Place) -> None:
    during.append(lambda: [flip(path) for path in place.store.artifacts.glob("test.text-*/deep/text.txt")] and None)
    assert page(place) == "a page of words: 15"
    assert calls == ["text", "count", "text", "published"]


def test_a_disk_that_loses_what_is_written_is_not_tried_for_ever(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "damages", lambda *a, **b: ["it is lost"])
    monkeypatch.setattr("ayllu.lab.store.damages", lambda *a, **b: ["it is lost"])
    with pytest.raises(UserError, match="check the disk"):
        page(place)


def test_a_job_of_many_processes_starts_again_where_something_is_damaged(place: Place) -> None:
    page(place)
    (path,) = place.store.artifacts.glob("test.count-*/count")
    flip(path)
    job = Place(store=place.store, cache=place.cache, layout=object())
    with pytest.raises(UserError, match="start the job again"):
        page(job)
    assert page(job) == "a page of words: 15"


def test_why_tells_of_damage_and_changes_nothing(place: Place) -> None:
    page(place)
    (path,) = place.store.artifacts.glob("test.count-*/count")
    flip(path)
    there = {*place.store.artifacts.rglob("*")}
    rows = explain(recipe(), place)
    assert [row.state for row in rows] == ["kept", "runs", "runs"]
    assert "'count' is not what was written" in rows[1].why
    assert {*place.store.artifacts.rglob("*")} == there


def test_a_file_that_no_stage_wrote_is_moved_out_and_nothing_is_made_again(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    page(place)
    (folder,) = place.store.artifacts.glob("test.text-*")
    (folder / "deep" / "more.txt").write_text("of somebody's")
    (folder / ".hidden").write_text("nobody's")
    page(place)
    assert calls == ["text", "count", "published"]
    assert "'deep/more.txt'" in capsys.readouterr().err
    assert [path.name for path in (folder / "deep").iterdir()] == ["text.txt"]
    assert (folder.with_name(f"{folder.name}.unlisted") / "deep" / "more.txt").read_text() == "of somebody's"


@stage(identity="test.model")
def model(ctx: Context) -> None:
    save_tiny_model(ctx.folder)


@pytest.fixture
def named(place: Place) -> Path:
    """The folder of a model that is called tiny."""
    handle = model()
    folder = resolve(handle, place)[handle].folder
    promote(place.store, "tiny", folder)
    assert find_model("tiny", place.store.home) == folder
    return folder


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_model_is_not_used_by_its_name(place: Place, named: Path, how: str) -> None:
    DAMAGE[how](named / "tokenizer.json")
    with pytest.raises(UserError, match=r"'tiny' is damaged: .*'tokenizer.json' .*run its recipe or adopt it again"):
        find_model("tiny", place.store.home)


def test_nor_by_its_folder_nor_with_weights_that_were_put_beside_it(place: Place, named: Path, tmp_path: Path) -> None:
    assert find_model(str(named), place.store.home) == named
    copy = shutil.copytree(named, tmp_path / "copy")
    check_listed(copy)
    (copy / "vocabulary.txt").touch()
    check_listed(copy)
    (copy / "model.gguf").touch()
    (named / "model.gguf").touch()
    for name in (str(named), "tiny", str(copy)):
        with pytest.raises(UserError, match=r"'model.gguf'"):
            find_model(name, place.store.home)
    (copy / "model.gguf").unlink()
    flip(copy / "model.safetensors")
    with pytest.raises(UserError, match=r"remove its manifest\.json"):
        check_listed(copy)
    (copy / MANIFEST).unlink()
    check_listed(copy)


def test_settings_that_are_gone_or_were_put_beside_a_model_are_noticed(named: Path, tmp_path: Path) -> None:
    """Without its stops or with another template the same weights answer in another way."""
    copy = shutil.copytree(named, tmp_path / "copy")
    (copy / "generation_config.json").unlink()
    with pytest.raises(UserError, match=r"'generation_config.json' is missing"):
        check_listed(copy)
    shutil.copyfile(named / "generation_config.json", copy / "generation_config.json")
    (copy / "model.safetensors").unlink()
    check_listed(copy)
    (copy / "added_tokens.json").write_text("{}")
    with pytest.raises(UserError, match=r"'added_tokens.json' was added"):
        check_listed(copy)


def test_a_release_below_an_artifact_is_what_the_artifact_says(place: Place, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "artifact" / "release")
    names = [path.relative_to(folder.parent).as_posix() for path in folder.iterdir()]
    paths = {name: folder.parent / name for name in names}
    files = {name: {"bytes": path.stat().st_size, "sha256": file_digest(path)} for name, path in paths.items()}
    (folder.parent / MANIFEST).write_text(json.dumps({"files": files}))
    check_listed(folder)
    (folder / MANIFEST).write_text("[]")
    check_listed(folder)
    flip(folder / "config.json")
    with pytest.raises(UserError, match=r"'release/config.json' is not what was written"):
        check_listed(folder)
