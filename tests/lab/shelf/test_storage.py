"""Removing results: never what is needed, whole or not at all, and back within a day."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from ayllu.lab.channel import follow, promote
from ayllu.lab.error import Stopped, UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.run import Place, resolve, run_of_many
from ayllu.lab.shelf import labels, storage
from ayllu.lab.shelf.find import find
from ayllu.lab.shelf.index import entries
from ayllu.lab.store import Store
from support.shelf import put, taken_in

WEIGHTS = {"config.json": "{}", "model.safetensors": "x" * 100}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Corpus to model to release, named `cria`; beside it a corpus and a model that nothing needs."""
    store = Store(tmp_path / "home")
    for number in (1, 2):
        corpus = put(store, "corpus", number, files={"text": "abc"})
        put(store, "pretrain", number, files=WEIGHTS, inputs={"text": taken_in("corpus", corpus)})
    model = find(store, "pretrain-", [row for row in entries(store) if row.created.endswith("01:00+00:00")])
    inputs = {"chat": taken_in("pretrain", str(model.key))}
    release = put(store, "release", 3, files={"release/card.md": "card"}, inputs=inputs)
    promote(store, "cria", store.path("release", release))
    return store


def names(store: Store) -> set[str]:
    return {row.folder for row in entries(store)}


def test_what_nothing_needs_goes_and_comes_back(store: Store) -> None:
    before = names(store)
    items = storage.removable(store, days=7)
    assert sorted(item.path.name.partition("-")[0] for item in items) == ["corpus", "pretrain"]
    assert names(store) == before, "asking removes nothing"
    done = storage.remove(store, items)
    assert len(before - names(store)) == 2 and done["bytes"] == sum(item.bytes for item in items) > 103
    assert follow(store, "cria").is_dir()
    assert len(storage.restore(store)) == 2
    assert names(store) == before
    with pytest.raises(UserError, match="nothing to take back"):
        storage.restore(store)


def test_what_is_needed_is_refused_by_name(store: Store) -> None:
    rows = entries(store)
    with pytest.raises(UserError, match=r"cria cannot go: the channel cria needs it \(a channel is removed with"):
        storage.one(store, find(store, "cria", rows), rows)
    (corpus,) = [row for row in rows if row.key == find(store, "cria", rows).inputs["chat"][1]]
    with pytest.raises(UserError, match="the channel cria needs it"):
        storage.one(store, corpus, rows)
    storage.remove(store, [storage.channel(store, "cria")])
    rows = entries(store)
    with pytest.raises(UserError, match=r"the release release-.* needs it"):
        storage.one(store, corpus, rows)
    assert len(storage.removable(store, days=0)) == 2, "a release and what it was made from stay until it is removed"
    release = find(store, "release-", rows)
    storage.remove(store, storage.one(store, release, rows))
    assert len(storage.removable(store, days=0)) == 4


def test_a_tag_keeps_a_result(store: Store) -> None:
    (item, _) = sorted(storage.removable(store, days=7), key=lambda item: item.name, reverse=True)
    row = find(store, item.name)
    labels.tag(store, str(row.key), add=("baseline",))
    assert storage.removable(store, days=7) == [], "and what it was made from"
    assert find(store, "baseline").key == row.key
    labels.tag(store, str(row.key), remove=("baseline",))
    assert len(storage.removable(store, days=7)) == 2
    with pytest.raises(UserError, match="has no tag 'baseline'"):
        labels.tag(store, str(row.key), remove=("baseline",))


def test_a_tag_keeps_a_release_too(store: Store) -> None:
    release = find(store, "cria")
    storage.remove(store, [storage.channel(store, "cria")])
    labels.tag(store, str(release.key), add=("paper",))
    rows = entries(store)
    with pytest.raises(UserError, match=r"cannot go: the tag paper of .* needs it"):
        storage.one(store, find(store, "paper", rows), rows)


def test_a_release_that_another_was_made_from_stays(store: Store) -> None:
    """The older one stands before the newer in no list."""
    old = str(find(store, "cria").key)
    storage.remove(store, [storage.channel(store, "cria")])
    put(store, "release", 0, files={"release/card.md": "next"}, inputs={"previous": taken_in("release", old)})
    rows = entries(store)
    with pytest.raises(UserError, match=r"cannot go: the release .* needs it"):
        storage.one(store, find(store, old, rows), rows)


def test_a_needed_result_with_a_damaged_record_is_neither_removed_nor_in_the_way(store: Store) -> None:
    folder = Path(find(store, "cria").folder)
    (folder / "manifest.json").write_text('{"stage": "release"')
    with pytest.raises(UserError, match="cannot go: the channel cria needs it"):
        rows = entries(store)
        storage.one(store, find(store, folder.name, rows), rows)
    items = storage.removable(store, days=0)
    assert folder not in [item.path for item in items]
    storage.remove(store, items)
    assert (folder / "release" / "card.md").is_file()


def test_while_a_channel_is_damaged_no_result_goes(store: Store) -> None:
    """A power cut of another program's making must not cost the model that a product reads."""
    model = next(
        row
        for row in entries(store)
        if row.stage == "pretrain" and row.key not in storage.needed(store, entries(store))
    )
    promote(store, "assistant@stable", Path(model.folder))
    path = store.home / "channels" / "assistant@stable.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(UserError, match=r"assistant@stable\.json is damaged.*`ayllu rm --channel assistant@stable`"):
        storage.removable(store, days=7)
    with pytest.raises(UserError, match="is damaged"):
        storage.one(store, model, entries(store))
    storage.remove(store, [storage.channel(store, "assistant@stable")])
    assert model.folder in {str(item.path) for item in storage.removable(store, days=7)}


def test_a_day_later_it_is_gone(store: Store) -> None:
    storage.remove(store, storage.removable(store, days=7))
    (trash,) = (store.home / "trash").iterdir()
    assert storage.empty(store, seconds=storage.KEPT_SECONDS) == 0
    yesterday = time.time() - storage.KEPT_SECONDS - 1
    os.utime(trash, (yesterday, yesterday))
    assert storage.empty(store, seconds=storage.KEPT_SECONDS) > 103
    assert not trash.exists()


def test_left_work_logs_and_what_was_set_aside_go(store: Store) -> None:
    (store.partial / "pretrain-0123456789abcdef" / "scratch").mkdir(parents=True)
    (store.artifacts / "corpus-0123456789abcdef.damaged").mkdir()
    (store.home / "logs" / "pretrain-0123456789abcdef").mkdir(parents=True)
    assert not [item for item in storage.removable(store, days=7) if "partial" in str(item.path)]
    found = {item.path.parent.name for item in storage.removable(store, days=0)}
    assert found == {"partial", "artifacts"}
    assert any(item.path.name.endswith(".damaged") for item in storage.removable(store, days=7))


arrived, go_on = threading.Event(), threading.Event()


@stage(identity="shelf.first")
def first(ctx: Context) -> None:
    (ctx.folder / "one").write_text("1")


@stage(identity="shelf.second")
def second(ctx: Context) -> None:
    arrived.set()
    assert go_on.wait(20)
    (ctx.folder / "two").write_text("2")


@stage(identity="shelf.third")
def third(ctx: Context, one: Handle[Path], two: Handle[Path]) -> None:
    (ctx.folder / "three").write_text((one.value / "one").read_text() + (two.value / "two").read_text())


def test_what_a_running_job_has_made_stays_though_nothing_names_it(store: Store) -> None:
    handle = third(first(), second())
    thread = threading.Thread(target=lambda: resolve(handle, Place(store=store, cache=store.home)))
    thread.start()
    assert arrived.wait(20)
    items = storage.removable(store, days=0)
    assert not [item for item in items if "shelf" in item.name]
    rows = entries(store)
    with pytest.raises(UserError, match=r"the running shelf\.third"):
        storage.one(store, find(store, "shelf.first-", rows), rows)
    with pytest.raises(UserError, match="is running; end it first"):
        storage.one(store, find(store, "shelf.second-", rows), rows)
    go_on.set()
    thread.join()
    assert (find(store, "shelf.third-").state) == "finished"


@stage(identity="shelf.stopped")
def stopped(ctx: Context, one: Handle[Path], *, at: str) -> None:
    if Path(at).exists():
        raise Stopped("stopped")
    (ctx.folder / "two").write_text("2")


def shelved(store: Store, *, days: float) -> list[str]:
    """Stages of the results of this file that would go."""
    return [item.name.partition("-")[0] for item in storage.removable(store, days=days) if "shelf." in item.name]


def test_what_stopped_work_goes_on_from_stays_as_long_as_the_work(store: Store, tmp_path: Path) -> None:
    """Hours of a corpus are worth as much as the checkpoint of the training that was stopped after it."""
    sign = tmp_path / "stop"
    sign.touch()
    place = Place(store=store, cache=store.home, command="ayllu run it")
    with pytest.raises(Stopped):
        resolve(stopped(first(), at=str(sign)), place)
    assert shelved(store, days=7) == []
    assert sorted(shelved(store, days=0)) == ["shelf.first", "shelf.stopped"]
    old = [row.key for row in entries(store) if row.kind == "run"]
    sign.unlink()
    time.sleep(1.1)  # records tell times to the second
    resolve(stopped(first(), at=str(sign)), place)
    assert len([row for row in entries(store) if row.kind == "run" and row.key not in old]) == 1
    assert sorted(shelved(store, days=7)) == ["shelf.first", "shelf.stopped"], "what was stopped has been done since"


def test_what_parts_of_a_run_have_made_stays_until_all_are_made_and_after_a_kill(store: Store) -> None:
    """The trials of a sweep: between two of them no other job names what the first came to."""
    place = Place(store=store, cache=store.home, command="ayllu sweep it")
    with run_of_many(place, "sweep 1 of it") as parts:
        resolve(first(), parts)
        assert shelved(store, days=0) == []
        why = storage.needed(store, entries(store))[str(find(store, "shelf.first-").key)]
        assert why.startswith("the running sweep 1 of it")
    assert shelved(store, days=7) == ["shelf.first"]
    with pytest.raises(Stopped), run_of_many(place, "sweep 2 of it") as parts:
        resolve(stopped(first(), at=str(store.home / "none")), parts)
        raise Stopped("killed")
    assert shelved(store, days=7) == []
    assert find(store, "sweep 2 of it").state == "interrupted"
