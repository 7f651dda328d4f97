"""Tiers of releases, by the real client of The Update Framework: expiry, rollback, a lost key, and the way up."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tuf.api.metadata import Targets

from ayllu.cli.main import main
from ayllu.lab.error import UserError
from ayllu.release.tiers import repository as tuf
from ayllu.release.tiers.client import check
from ayllu.release.tiers.keys import read_keys

EVIDENCE = {"name": "small", "version": "1.0.0", "promotion": "ab" * 32}


@pytest.fixture
def keys() -> tuf.Keys:
    return tuf.Keys.make()


@pytest.fixture
def place(tmp_path: Path, keys: tuf.Keys) -> Path:
    """A repository, a release, and a user who has the first root."""
    tuf.create(tmp_path / "repository", keys)
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "model.sig").write_text("signed")
    (tmp_path / "user").mkdir()
    shutil.copyfile(tmp_path / "repository" / "1.root.json", tmp_path / "user" / "root.json")
    return tmp_path


def ask(place: Path, tier: tuf.Tier = "internal") -> dict[str, object]:
    return check(place / "repository", place / "user", place / "release", tier, name="small", version="1.0.0")


def offer(place: Path, keys: tuf.Keys, tier: tuf.Tier, **more: object) -> str:
    return tuf.promote(place / "repository", keys, place / "release", tier, evidence=EVIDENCE, **more)


def test_a_release_goes_through_the_tiers_in_order_and_each_user_sees_their_own(place, keys) -> None:
    with pytest.raises(UserError, match="not been offered to internal"):
        offer(place, keys, "testers")
    offer(place, keys, "internal")
    assert ask(place) == EVIDENCE
    with pytest.raises(UserError, match="not offered to testers"):
        ask(place, "testers")
    offer(place, keys, "testers")
    offer(place, keys, "everyone")
    assert ask(place, "everyone") == EVIDENCE


def test_another_release_of_the_same_name_is_refused(place, keys) -> None:
    offer(place, keys, "internal")
    (place / "release" / "model.sig").write_text("signed by somebody else")
    with pytest.raises(UserError, match="is not the small"):
        ask(place)
    with pytest.raises(UserError, match="not been offered to internal"):
        offer(place, keys, "testers")


def test_metadata_is_not_expired_when_made_and_is_after_its_day(place, keys) -> None:
    offer(place, keys, "internal")
    assert ask(place) == EVIDENCE
    tuf.refresh(place / "repository", keys, now=datetime.now(UTC) - timedelta(days=3))
    with pytest.raises(UserError, match=r"timestamp\.json is expired"):
        ask(place)
    tuf.refresh(place / "repository", keys)
    assert ask(place) == EVIDENCE


def test_nobody_who_has_seen_a_newer_state_is_given_an_older_one(place, keys) -> None:
    offer(place, keys, "internal")
    older = shutil.copytree(place / "repository", place / "older")
    offer(place, keys, "testers")
    assert ask(place, "testers") == EVIDENCE
    shutil.rmtree(place / "repository")
    older.rename(place / "repository")
    with pytest.raises(UserError, match="not to be believed"):
        ask(place)


def test_the_key_of_one_tier_cannot_speak_for_another(place, keys) -> None:
    offer(place, keys, "internal")
    keys.roles["testers"] = keys.roles["internal"]
    offer(place, keys, "testers")
    with pytest.raises(UserError, match="not to be believed"):
        ask(place, "testers")


def test_a_lost_root_key_is_replaced_by_the_two_others_and_users_follow(place, keys) -> None:
    offer(place, keys, "internal")
    lost, *left = keys.root
    new = ec.generate_private_key(ec.SECP256R1())
    folder = place / "repository"
    with pytest.raises(UserError, match="add another"):
        tuf.rotate(folder, [left[0]._private_key], lost.public_key.keyid, new.public_key())
    assert not (folder / "2.root.json").exists()
    tuf.rotate(folder, [one._private_key for one in left], lost.public_key.keyid, new.public_key())
    assert ask(place) == EVIDENCE
    with pytest.raises(UserError, match="is no root key"):
        tuf.rotate(folder, [one._private_key for one in left], lost.public_key.keyid, new.public_key())


@pytest.mark.parametrize("role", tuf.ROLES)
def test_the_lost_key_of_any_role_is_replaced_and_users_follow(place, keys, tmp_path, role) -> None:
    """With what a publisher has left: the other keys, none of them root's where a tier's own is lost."""
    offer(place, keys, "internal")
    assert ask(place) == EVIDENCE
    folder, lost = _written(tmp_path / "keys", keys), keys.roles[role]
    (folder / f"{role}.pem").unlink()
    words = ["--lost", lost.public_key.keyid, "--new", folder / f"{role}.pem", "--keys", folder]
    words += [] if role in tuf.TIERS else [w for n in (1, 3) for w in ("--key", folder / f"root-{n}.pem")]
    with pytest.raises(SystemExit) as end:
        main(["release", "tiers", "rotate", str(place / "repository"), *map(str, words)])
    assert end.value.code == 0 and ask(place) == EVIDENCE
    again = read_keys(folder)
    for tier in tuf.TIERS:
        offer(place, again, tier)
    assert ask(place, "everyone") == EVIDENCE
    again.roles[role] = lost  # whoever found it
    for tier in tuf.TIERS:
        offer(place, again, tier)
    if role == "targets":
        tuf.refresh(place / "repository", again, now=datetime.now(UTC) + timedelta(days=60))
    with pytest.raises(UserError, match="not to be believed"):
        ask(place, role if role in tuf.TIERS else "everyone")


def test_a_key_of_a_role_is_replaced_by_nobody_alone(place, keys, tmp_path) -> None:
    folder, new = place / "repository", ec.generate_private_key(ec.SECP256R1())
    one, lost = keys.root[0]._private_key, keys.roles["timestamp"].public_key.keyid
    with pytest.raises(UserError, match="1 of the 2 root keys that must sign have"):
        tuf.replace_role_key(folder, [one], keys, lost, new)
    for taken in (keys.root[2], keys.roles["testers"], keys.roles["snapshot"]):
        roots = [signer._private_key for signer in keys.root]
        with pytest.raises(UserError, match="has a role"):
            tuf.replace_role_key(folder, roots, keys, lost, taken._private_key)
    assert not (folder / "2.root.json").exists()


def test_a_repository_in_which_nothing_is_promoted_does_not_end(place, keys) -> None:
    """Ninety days are over for targets and every tier, and a year for root."""
    began = datetime.now(UTC) - timedelta(days=100)
    shutil.rmtree(place / "repository")
    tuf.create(place / "repository", keys, now=began)
    offer(place, keys, "internal", now=began)
    shutil.copyfile(place / "repository" / "1.root.json", place / "user" / "root.json")
    only = tuf.Keys([], **{role: keys.roles[role]._private_key for role in ("snapshot", "timestamp")})
    tuf.refresh(place / "repository", only)
    with pytest.raises(UserError, match="targets is expired"):
        ask(place)
    tuf.refresh(place / "repository", keys)
    assert ask(place) == EVIDENCE
    roots = [signer._private_key for signer in keys.root[:2]]
    with pytest.raises(UserError, match="add another"):
        tuf.renew_root(place / "repository", roots[:1])
    tuf.renew_root(place / "repository", roots)
    assert ask(place) == EVIDENCE
    assert (tuf.ends(place / "repository")["root"] - datetime.now(UTC)).days >= 364


def test_one_stolen_root_key_makes_no_root(place, keys) -> None:
    offer(place, keys, "internal")
    thief = ec.generate_private_key(ec.SECP256R1())
    stolen, other, _ = keys.root
    with pytest.raises(UserError, match="add another"):
        tuf.rotate(place / "repository", [stolen._private_key, thief], other.public_key.keyid, thief.public_key())


def test_a_target_keeps_what_vouches_for_it(place, keys) -> None:
    path = offer(place, keys, "internal")
    target = tuf.load(place / "repository", "internal", Targets).signed.targets[path]
    assert target.custom == EVIDENCE
    assert (place / "repository" / "targets" / path).read_text() == "signed"
    with pytest.raises(UserError, match="already"):
        tuf.create(place / "repository", keys)


def test_the_command_makes_offers_and_checks(built, tmp_path, capsys) -> None:
    def run(*words: object) -> int:
        with pytest.raises(SystemExit) as end:
            main(["release", "tiers", *map(str, words)])
        return int(end.value.code or 0)

    assert run("create", tmp_path / "r", "--keys", tmp_path / "keys", "--json") == 0
    lost = json.loads(capsys.readouterr().out)["root_keys"][0]
    user = tmp_path / "user"
    user.mkdir()
    shutil.copyfile(tmp_path / "r" / "1.root.json", user / "root.json")
    assert run("check", tmp_path / "r", built.folder, "--trusted", user) == 2
    assert "not offered to everyone" in capsys.readouterr().err
    keys = read_keys(tmp_path / "keys")
    about = {"name": built.name, "version": built.version, "promotion": "ab" * 32}
    for tier in tuf.TIERS:
        tuf.promote(tmp_path / "r", keys, built.folder, tier, evidence=about)
    assert run("check", tmp_path / "r", built.folder, "--trusted", user) == 0
    assert f"promotion {'ab' * 32}" in capsys.readouterr().out
    assert run("check", tmp_path / "r", built.folder, "--trusted", user, "--tier", "friends") == 2
    signers = [word for n in (2, 3) for word in ("--key", tmp_path / "keys" / f"root-{n}.pem")]
    assert run("rotate", tmp_path / "r", "--lost", lost, "--new", tmp_path / "new.pem", *signers) == 0
    assert run("refresh", tmp_path / "r", "--keys", tmp_path / "keys") == 0
    assert run("check", tmp_path / "r", built.folder, "--trusted", user) == 0
    assert (user / "root.json").exists()


def test_what_is_refused_leaves_no_key_and_no_repository_behind(place, keys, tmp_path, capsys) -> None:
    def run(*words: object) -> str:
        with pytest.raises(SystemExit) as end:
            main(["release", "tiers", *map(str, words)])
        assert end.value.code == 2
        return capsys.readouterr().err

    assert "holds a repository already" in run("create", place / "repository", "--keys", tmp_path / "more")
    assert "cannot be read" in run("refresh", tmp_path / "nowhere", "--keys", _written(tmp_path / "keys", keys))
    root = [word for n in (2, 3) for word in ("--key", tmp_path / "keys" / f"root-{n}.pem")]
    new = tmp_path / "new.pem"
    assert "no root.json" in run("rotate", tmp_path / "nowhere", "--lost", "ab", "--new", new, *root)
    assert "no root key" in run("rotate", place / "repository", "--lost", "ab", "--new", new, *root)
    lost = keys.root_ids[0]
    assert "add another" in run("rotate", place / "repository", "--lost", lost, "--new", new, *root[:2])
    for taken in ("root-2.pem", "timestamp.pem"):
        told = run("rotate", place / "repository", "--lost", lost, "--new", tmp_path / "keys" / taken, *root)
        assert "has a role" in told, "three root keys stay three"
    assert not new.exists() and not (tmp_path / "more").exists() and not (place / "repository" / "2.root.json").exists()


def test_a_refresh_needs_the_keys_of_snapshot_and_timestamp_alone(place, keys, tmp_path) -> None:
    folder = _written(tmp_path / "keys", keys)
    for path in folder.iterdir():
        if path.stem not in ("snapshot", "timestamp"):
            path.unlink()
    with pytest.raises(SystemExit) as end:
        main(["release", "tiers", "refresh", str(place / "repository"), "--keys", str(folder)])
    assert end.value.code == 0


def _written(folder: Path, keys: tuf.Keys) -> Path:
    """The private keys as `tiers create` writes them."""
    named = {f"root-{number}": signer for number, signer in enumerate(keys.root, start=1)} | keys.roles
    folder.mkdir()
    for name, signer in named.items():
        (folder / f"{name}.pem").touch(mode=0o600)
        (folder / f"{name}.pem").write_bytes(signer.private_bytes)
    return folder
