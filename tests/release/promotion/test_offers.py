"""`ayllu release promote --tiers`: the channel moves, the tier offers the release, and what failed is made again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ayllu.cli.main import main
from ayllu.lab.graph import Context, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from ayllu.release.promotion.chain import digest, read_chain
from ayllu.release.tiers import repository as tuf
from ayllu.release.tiers.client import check_release
from ayllu.release.tiers.keys import made_or_read, make_keys


@stage(identity="offers.release")
def released(ctx: Context, *, folder: str) -> None:
    shutil.copytree(folder, ctx.folder / "release")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def test_a_move_is_offered_by_its_tier_and_an_offer_that_failed_is_made_again(built, store, tmp_path, capsys) -> None:
    release = released(folder=str(built.folder))
    key = str(resolve(release, Place(store=store, cache=store.home))[release].manifest["key"])
    tuf.create(tmp_path / "r", make_keys(tmp_path / "keys"))
    made_or_read(tmp_path / "mine.pem")

    def promote(tier: str, *more: object) -> tuple[int, str]:
        words = ["release", "promote", key, f"cria@{tier}", "--key", tmp_path / "mine.pem", "--home", store.home]
        with pytest.raises(SystemExit) as end:
            main([*map(str, [*words, *more])])
        return int(end.value.code or 0), capsys.readouterr().err

    tiers = ("--tiers", tmp_path / "r", "--tier-keys", tmp_path / "keys")
    assert promote("internal", *tiers[2:])[0] == 2, "keys without a repository are not dropped in silence"
    code, told = promote("testers", *tiers)
    assert code == 2 and "has not been offered to internal" in told and not read_chain(store)

    # The move is made, and the offer is not: a file lies where its folder is to be.
    (tmp_path / "r" / "targets").write_text("")
    assert promote("internal", *tiers)[0] == 2 and len(read_chain(store)) == 1
    (tmp_path / "r" / "targets").unlink()
    assert promote("internal", *tiers)[0] == 0 and len(read_chain(store)) == 1, "no second move"
    (tmp_path / "user").mkdir()
    shutil.copyfile(tmp_path / "r" / "1.root.json", tmp_path / "user" / "root.json")
    offered = check_release(tmp_path / "r", tmp_path / "user", built.folder, "internal")
    assert offered["promotion"] == digest(read_chain(store)[0])

    assert promote("internal")[0] == 2, "without a tier a channel that points there stays where it is"
    for path in (tmp_path / "keys").iterdir():
        if path.stem not in ("testers", "snapshot", "timestamp"):
            path.unlink()
    assert promote("testers", *tiers) == (0, ""), "a tier needs no key of another"
