"""Channels move by evidence, every move is signed and chained, and there is a way back."""

from __future__ import annotations

import errno
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.cli.main import main
from ayllu.lab.channel import current
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.shelf import storage
from ayllu.lab.shelf.index import Entry
from ayllu.lab.store import Store
from ayllu.release import sign
from ayllu.release.promotion import move
from ayllu.release.promotion.chain import chain_path, read_chain
from ayllu.release.promotion.move import promote, rollback
from support.scores import scores

KEY, STRANGER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


@stage(identity="promotion.train")
def train(ctx: Context, *, number: int) -> None:
    (ctx.folder / "config.json").write_text("{}")
    (ctx.folder / "model.safetensors").write_text(str(number))


@stage(identity="promotion.judge")
def judge(ctx: Context, model: Handle[Path], *, bits: float = 1.0, items: int = 4) -> None:
    found = scores()
    documents = tuple(replace(one, bits=one.bits * bits) for one in found.documents[:2])
    replace(found, outcomes=found.outcomes[:items], documents=documents).save(ctx.folder)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@stage(identity="promotion.exam")
def exam(ctx: Context, model: Handle[Path]) -> None:
    scores().save(ctx.folder)


def made(store: Store, number: int, **measured: Any) -> str:
    model = train(number=number)
    last = judge(model, **measured) if measured else model
    return str(resolve(last, Place(store=store, cache=store.home))[model].manifest["key"])


def test_a_channel_moves_to_what_is_as_good_and_back(store: Store) -> None:
    first, second = made(store, 1, bits=1.0), made(store, 2, bits=0.9)
    began = promote(store, first[:8], "assistant@stable", KEY, margin=0.9)
    assert began["from"] is None and "is new" in began["evidence"]["scores"]["why"]
    moved = promote(store, second[:8], "assistant@stable", KEY, margin=0.9)
    compared = {row["score"]: row for row in moved["evidence"]["scores"]["compared"]}
    assert compared["bits_per_byte books"]["difference"] == pytest.approx(-0.15)
    assert current(store, "assistant@stable")["key"] == second
    back = rollback(store, "assistant@stable", KEY, reason="users complained")
    assert current(store, "assistant@stable")["key"] == first
    chain = read_chain(store)
    assert [row["kind"] for row in chain] == ["promote", "promote", "rollback"]
    assert chain[-1]["evidence"]["reason"] == "users complained" and back["previous"] == moved["digest"]


def test_what_is_worse_or_not_measured_is_refused(store: Store) -> None:
    good, bad, other, bare = (
        made(store, 1, bits=1.0), made(store, 2, bits=2.0), made(store, 3, items=3), made(store, 4)
    )  # fmt: skip
    promote(store, good, "m", KEY)
    with pytest.raises(UserError, match=r"not shown to be as good as .*: .* margin 0.9"):
        promote(store, bad, "m", KEY, margin=0.9)
    with pytest.raises(UserError, match="cannot be compared"):
        promote(store, other, "m", KEY)
    with pytest.raises(UserError, match="no score was measured on both"):
        promote(store, bare, "m", KEY)
    assert current(store, "m")["key"] == good and len(read_chain(store)) == 1
    moved = promote(store, bare, "m", KEY, without_scores="the suite is being rebuilt")
    assert moved["evidence"]["scores"]["why"] == "the suite is being rebuilt"
    with pytest.raises(UserError, match="points to"):
        promote(store, bare, "m", KEY)


def test_damage_stops_a_promotion(store: Store) -> None:
    key = made(store, 1)
    (store.path("promotion.train", key) / "model.safetensors").write_text("9")
    with pytest.raises(UserError, match="is damaged"):
        promote(store, key, "m", KEY)
    assert read_chain(store) == []
    with pytest.raises(UserError, match="there is no model 'm'"):
        rollback(store, "m", KEY)


def test_each_rollback_goes_one_further_back_and_what_it_returns_to_is_kept(store: Store) -> None:
    keys = [made(store, number, bits=1.0) for number in range(3)]
    for key in keys:
        promote(store, key, "m", KEY, margin=0.9)
    rollback(store, "m", KEY)
    assert current(store, "m")["key"] == keys[1]
    storage.remove(store, storage.removable(store, days=0))
    rollback(store, "m", KEY)
    assert current(store, "m")["key"] == keys[0]
    with pytest.raises(UserError, match="has pointed to nothing else before"):
        rollback(store, "m", KEY)
    assert [row["to"]["key"] for row in read_chain(store)] == [*keys, keys[1], keys[0]]


def test_what_moves_at_once_is_compared_with_what_is_there_by_then(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, best, worse = made(store, 1, bits=1.0), made(store, 2, bits=0.1), made(store, 3, bits=1.0)
    promote(store, first, "m", KEY)
    refused: list[str] = []

    def second() -> None:
        with pytest.raises(UserError) as told:
            promote(store, worse, "m", KEY, margin=0.9)
        refused.append(str(told.value))

    thread = threading.Thread(target=second)
    whole = move._whole

    def meanwhile(store: Store, row: Entry) -> str:
        if row.key == best:
            thread.start()
            thread.join(timeout=1)
        return whole(store, row)

    monkeypatch.setattr(move, "_whole", meanwhile)
    promote(store, best, "m", KEY, margin=0.9)
    thread.join()
    assert "is not shown to be as good as" in refused[0]
    assert current(store, "m")["key"] == best and [row["to"]["key"] for row in read_chain(store)] == [first, best]


@pytest.mark.parametrize("harm", ["removed", "damaged"])
def test_a_name_that_is_lost_takes_no_gate_away(harm: str, store: Store) -> None:
    good, bad = made(store, 1, bits=1.0), made(store, 2, bits=2.0)
    promote(store, good, "m", KEY)
    path = store.home / "channels" / "m.json"
    path.unlink() if harm == "removed" else path.write_text('{"name": "m"')
    with pytest.raises(UserError, match="is not shown to be as good as"):
        promote(store, bad, "m", KEY)
    promote(store, good, "m", KEY)
    assert current(store, "m")["key"] == good


def test_a_damaged_name_without_a_record_is_told(store: Store) -> None:
    (store.home / "channels").mkdir()
    (store.home / "channels" / "m.json").write_text("{}")
    with pytest.raises(UserError, match="is damaged"):
        promote(store, made(store, 1), "m", KEY)
    assert read_chain(store) == []


def test_what_only_the_predecessor_was_measured_by_needs_a_reason(store: Store) -> None:
    model = train(number=1)
    for measured in (judge(model), exam(model)):
        old = resolve(measured, Place(store=store, cache=store.home))[model].manifest["key"]
    new = made(store, 2, bits=1.0)
    promote(store, old, "m", KEY)
    with pytest.raises(UserError, match=r"promotion\.exam has measured m alone"):
        promote(store, new, "m", KEY, margin=0.9)
    with pytest.raises(UserError, match="not shown to be as good as m: "):
        promote(store, made(store, 3, bits=2.0), "m", KEY, margin=0.9, without_scores="the exam is gone")
    promote(store, new, "m", KEY, margin=0.9, without_scores="the exam is gone")


def test_scores_that_somebody_has_changed_let_nothing_pass(store: Store) -> None:
    promote(store, made(store, 1, bits=1.0), "m", KEY)
    bad = made(store, 2, bits=2.0)
    (path,) = [
        path for path in store.artifacts.glob("promotion.judge-*/documents.jsonl") if "600.0" in path.read_text()
    ]
    path.write_text(path.read_text().replace("600.0", "100.0"))
    with pytest.raises(UserError, match=r"is damaged: 'documents\.jsonl'"):
        promote(store, bad, "m", KEY, margin=0.9)


def test_a_move_is_written_down_before_it_is_made_and_not_if_it_cannot_be(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, seen = made(store, 1), []

    def full(*_: Any, **__: Any) -> None:
        seen.append([row["to"]["key"] for row in read_chain(store)])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="No space left"):
        patch.setattr("ayllu.lab.channel.promote", full)
        promote(store, key, "m", KEY)
    assert seen == [[key]] and read_chain(store) == []
    promote(store, key, "m", KEY)
    assert len(read_chain(store)) == 1


@pytest.mark.parametrize("left", [0.3, 0.99])
def test_a_line_that_a_kill_cut_short_is_no_record(left: float, store: Store) -> None:
    promote(store, made(store, 1), "a", KEY)
    path = chain_path(store)
    whole = path.read_text()
    promote(store, made(store, 2), "b", KEY)
    added = path.read_text()[len(whole) :]
    path.write_text(whole + added[: int(len(added) * left)])
    assert [row["channel"] for row in read_chain(store)] == ["a"]
    promote(store, made(store, 3), "c", KEY)
    assert [row["channel"] for row in read_chain(store)] == ["a", "c"]


def test_a_whole_last_record_without_its_line_end_counts(store: Store) -> None:
    promote(store, made(store, 1), "a", KEY)
    path = chain_path(store)
    path.write_text(path.read_text().rstrip())
    promote(store, made(store, 2), "b", KEY)
    assert [row["channel"] for row in read_chain(store)] == ["a", "b"]


def drop(lines: list[str]) -> list[str]:
    return [lines[0], lines[2]]


def change(lines: list[str]) -> list[str]:
    return [line.replace('"a"', '"b"') for line in lines]


def swap(lines: list[str]) -> list[str]:
    return [lines[1], lines[0], lines[2]]


@pytest.mark.parametrize("harm", [drop, change, swap])
def test_a_chain_that_was_changed_is_refused(harm: Any, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for number, channel in enumerate(("a", "b", "c")):
        promote(store, made(store, number), channel, KEY)
    path = chain_path(store)
    path.write_text("\n".join(harm(path.read_text().splitlines())) + "\n")
    with pytest.raises(UserError, match=r"is not as it was written: line \d"):
        read_chain(store)
    with pytest.raises(SystemExit) as ended:
        main(["promotions", "--home", str(store.home)])
    assert ended.value.code == 2 and "is not as it was written" in capsys.readouterr().err
    with pytest.raises(UserError, match="is not as it was written"):
        promote(store, made(store, 9), "d", KEY)


def test_only_those_who_may_move_a_channel_do(store: Store) -> None:
    allowed = {"assistant@*": [sign.fingerprint(KEY.public_key())]}
    (store.home / "movers.json").write_text(json.dumps(allowed))
    key = made(store, 1)
    with pytest.raises(UserError, match="may not move assistant@stable"):
        promote(store, key, "assistant@stable", STRANGER)
    with pytest.raises(UserError, match="may not move other"):
        promote(store, key, "other", KEY)
    promote(store, key, "assistant@stable", KEY)


def test_what_asks_for_no_key_moves_no_channel_that_somebody_guards(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run, a pull and a removal all give the name another meaning, and none of them is signed."""
    promote(store, made(store, 1), "assistant@stable", KEY)
    promote(store, made(store, 1), "other", KEY)
    jobs = sorted((store.home / "jobs").glob("*.json"))
    team = tmp_path / "team"
    team.mkdir()

    def ask(*words: str) -> tuple[Any, str]:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--home", str(store.home)])
        return ended.value.code, capsys.readouterr().err

    for name in ("assistant@stable", "other"):
        assert ask("push", name, "--to", str(team))[0] == 0
    for movers in ({"assistant*": [sign.fingerprint(KEY.public_key())]}, {"assistant*": []}):
        (store.home / "movers.json").write_text(json.dumps(movers))
        for words in (
            ("run", "cria", "--name", "assistant"),
            ("adopt", "smollm2", "--name", "assistant"),
            ("pull", "assistant@stable", "--from", str(team)),
            ("rm", "--channel", "assistant@stable"),
        ):
            code, told = ask(*words)
            assert code == 2 and "movers.json names who may move assistant" in told
        assert sorted((store.home / "jobs").glob("*.json")) == jobs, "refused before any work"
    assert current(store, "assistant@stable")["stage"]
    assert ask("pull", "other", "--from", str(team))[0] == 0
    assert ask("rm", "--channel", "other")[0] == 0


def test_keys_that_stand_in_no_list_are_told(store: Store) -> None:
    (store.home / "movers.json").write_text(json.dumps({"m": sign.fingerprint(KEY.public_key())}))
    with pytest.raises(UserError, match="keys stand in a list"):
        promote(store, made(store, 1), "m", KEY)


def test_the_commands(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    key = made(store, 1)

    def ask(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--home", str(store.home)])
        out, err = capsys.readouterr()
        assert ended.value.code == 0, err
        return out

    assert json.loads(ask("promote", key[:6], "m@stable", "--json"))["number"] == 1
    assert "m@stable points to" in ask("release", "promote", made(store, 2)[:6], "m@stable", "--without-scores", "new")
    assert "record 3" in ask("rollback", "m@stable")
    assert ask("promotions").splitlines()[-1] == "3 records, each signed and naming the one before"
