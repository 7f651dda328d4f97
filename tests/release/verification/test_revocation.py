"""A release that was taken back is not verified, run, adopted or served any more, wherever its list is known."""

from __future__ import annotations

import json
import shutil
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.api import measuring, models, running
from ayllu.cli.release import app
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.adopt import adopted
from ayllu.recipes.stages.artifacts import Release, open_release
from ayllu.release import sign
from ayllu.release.trust import revocation
from ayllu.release.trust.revocation import Revocations, known, learn, lists_folder, parse, released
from ayllu.release.trust.revoked import why_revoked
from ayllu.release.verify import verify_release
from ayllu.serve import server, stoppable
from support.release import seal_again, sign_again

REASON = "it repeats personal data\x1b[2K"


def command(*arguments: object) -> int:
    return app([*map(str, arguments)], result_action="return_value")


@pytest.fixture
def key(tmp_path) -> Path:
    """A publisher's private key, kept elsewhere than the user's."""
    made = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "publisher.pem"
    path.touch(mode=0o600)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.private_bytes(*form))
    return path


@pytest.fixture
def theirs(release, key, tmp_path, monkeypatch) -> Path:
    """A release of that publisher's, and a home of the user's that knows nothing."""
    monkeypatch.setenv("AYLLU_HOME", str(tmp_path / "home"))
    seal_again(release, sign.private_key(key))
    return release


def make_list(theirs: Path, key: Path, path: Path, **more: object) -> Revocations:
    signer = sign.private_key(key)
    return revocation.revoke(path, signer, release=released(theirs, signer.public_key()), reason=REASON, **more)


def test_a_list_from_anywhere_stops_a_release_everywhere(theirs, key, tmp_path, capsys):
    assert command("verify", theirs) == 0
    make_list(theirs, key, tmp_path / "list.json")
    assert models.load(theirs).folder == theirs
    assert command("revocations", tmp_path / "list.json") == 0
    capsys.readouterr()
    assert command("verify", theirs) == 1
    said = capsys.readouterr().out
    assert "is that of a release that is not to be used: it was revoked by its publisher on 20" in said
    assert "it repeats personal data\\x1b[2K\n" in said
    for use in (models.load, measuring.evaluate, adopted, server.serve_model):
        with pytest.raises(UserError, match="is not used, for it was revoked by its publisher"):
            use(theirs if use is server.serve_model else str(theirs))


def test_the_gguf_file_of_a_release_that_was_taken_back_is_not_adopted(theirs, key, tmp_path):
    make_list(theirs, key, tmp_path / "list.json")
    learn(tmp_path / "list.json")
    with pytest.raises(UserError, match="is not used, for it was revoked by its publisher"):
        adopted(str(theirs / "cria.gguf"))
    assert why_revoked(Path("x" * 5000)) is None


def test_a_clock_behind_the_list_is_told(theirs, key, tmp_path, monkeypatch, capsys):
    revocation.revoke(tmp_path / "list.json", sign.private_key(key), days=1)
    learn(tmp_path / "list.json")
    issued = parse((tmp_path / "list.json").read_bytes()).issued
    assert issued and command("verify", theirs) == 0 and "clock" not in capsys.readouterr().out

    class Before(revocation.datetime):
        @classmethod
        def now(cls, tz=None):
            return issued - timedelta(days=30)

    monkeypatch.setattr(revocation, "datetime", Before)
    assert command("verify", theirs) == 0
    said = capsys.readouterr().out
    assert (
        f"This machine's clock is wrong: the list of what its publisher has revoked was signed on {issued.date()}"
        in said
    )
    assert command("revocations", tmp_path / "list.json", "--json") == 0
    assert json.loads(capsys.readouterr().out)["clock_behind"] is True


def test_only_that_release_is_stopped_and_a_lost_key_stops_all(theirs, key, tmp_path):
    other = Path(shutil.copytree(theirs, tmp_path / "other"))
    manifest = json.loads((other / "manifest.json").read_text()) | {"model_digest": "another"}
    (other / "manifest.json").write_text(json.dumps(manifest))
    (other / sign.SIGNATURE).unlink()
    sign_again(other, sign.private_key(key))
    make_list(theirs, key, tmp_path / "list.json")
    learn(tmp_path / "list.json")
    assert why_revoked(theirs) and why_revoked(other) is None
    revocation.revoke(tmp_path / "list.json", sign.private_key(key), whole_key=True, reason="it was stolen")
    learn(tmp_path / "list.json")
    assert why_revoked(other) == "its publisher's key was revoked: it was stolen"


def test_a_strangers_list_says_nothing_of_it(theirs, key, tmp_path):
    """A list counts for the releases of its own key alone, whatever it names."""
    stranger = ec.generate_private_key(ec.SECP256R1())
    entry = released(theirs, sign.private_key(key).public_key())
    revocation.revoke(tmp_path / "list.json", stranger, release=entry, reason="envy")
    learn(tmp_path / "list.json")
    assert why_revoked(theirs) is None and verify_release(theirs).verified
    with pytest.raises(UserError, match="signed with another key than yours: only who signed it can revoke it"):
        released(theirs, stranger.public_key())
    with pytest.raises(UserError, match="give a file of your own"):
        make_list(theirs, key, tmp_path / "list.json")


def test_an_older_list_never_replaces_a_newer(theirs, key, tmp_path):
    revocation.revoke(tmp_path / "list.json", sign.private_key(key))
    old = shutil.copyfile(tmp_path / "list.json", tmp_path / "old.json")
    make_list(theirs, key, tmp_path / "list.json")
    assert learn(tmp_path / "list.json")[1] is True
    found, newer = learn(old)
    assert (found.number, newer) == (2, False) and why_revoked(theirs)


def test_a_list_that_has_ended_still_stops_and_says_that_it_is_old(theirs, key, tmp_path, monkeypatch, capsys):
    revocation.revoke(tmp_path / "list.json", sign.private_key(key), days=1)
    learn(tmp_path / "list.json")
    assert command("verify", theirs) == 0 and "ended on" not in capsys.readouterr().out
    found = known(sign.fingerprint(sign.private_key(key).public_key()))
    assert found and not found.expired
    later = found.expires + timedelta(seconds=1)

    class Later(revocation.datetime):
        @classmethod
        def now(cls, tz=None):
            return later

    monkeypatch.setattr(revocation, "datetime", Later)
    assert command("verify", theirs) == 0
    assert f"The list of what its publisher has revoked ended on {found.expires.date()}" in capsys.readouterr().out
    make_list(theirs, key, tmp_path / "list.json", days=1)
    learn(tmp_path / "list.json")
    later += timedelta(days=9)
    assert why_revoked(theirs)


@pytest.mark.parametrize(
    "harm",
    [
        lambda whole: whole | {"list": whole["list"].replace("personal", "public")},
        lambda whole: whole | {"key": sign.public_pem(ec.generate_private_key(ec.SECP256R1()).public_key()).decode()},
        lambda whole: whole | {"signature": {}},
        lambda whole: whole | {"list": 3},
        lambda whole: [],
        lambda whole: None,
    ],
)
def test_a_list_that_was_changed_is_refused(theirs, key, tmp_path, harm):
    make_list(theirs, key, tmp_path / "list.json")
    whole = json.loads((tmp_path / "list.json").read_text())
    (tmp_path / "list.json").write_text(json.dumps(harm(whole)))
    with pytest.raises(UserError, match="is not to be believed"):
        learn(tmp_path / "list.json")
    with pytest.raises(UserError, match="cannot be read"):
        learn(tmp_path / "nowhere.json")
    assert not lists_folder().exists()


def test_a_kept_list_that_is_damaged_is_none(theirs, key, tmp_path):
    make_list(theirs, key, tmp_path / "list.json")
    found, _ = learn(tmp_path / "list.json")
    (lists_folder() / f"{found.publisher}.json").write_text("{")
    assert why_revoked(theirs) is None and verify_release(theirs).verified


def test_the_command_revokes_and_renews(theirs, key, tmp_path, capsys):
    path = tmp_path / "list.json"
    assert command("revoke", theirs, "--list", path, "--reason", "wrong licence", "--key", key, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [entry["reason"] for entry in said["releases"]] == ["wrong licence"] and said["number"] == 1
    assert command("revoke", "--list", path, "--key", key, "--days", 9) == 0
    assert parse(path.read_bytes()).number == 2 and len(parse(path.read_bytes()).releases) == 1
    assert command("verify", theirs) == 1, "the publisher's own machine knows"
    with pytest.raises(UserError, match="give --reason"):
        command("revoke", theirs, "--list", path, "--key", key)
    with pytest.raises(UserError, match="is no release"):
        command("revoke", tmp_path, "--list", path, "--key", key, "--reason", "x")
    with pytest.raises(UserError, match="give from 1 to 3650"):
        command("revoke", "--list", path, "--key", key, "--days", 0)


@stage(identity="test.revoked_release", makes=open_release)
def copy_release(ctx: Context, *, source: str) -> None:
    shutil.copytree(source, ctx.folder / "release")


def test_a_recipe_whose_release_was_revoked_refuses_and_names_nothing(theirs, key, tmp_path):
    def recipe(*, name: str) -> Handle[Release]:
        return copy_release(source=str(theirs))

    assert running.run(recipe, home=tmp_path / "lab", name="before").channel == "before"
    make_list(theirs, key, tmp_path / "list.json")
    learn(tmp_path / "list.json")
    with pytest.raises(UserError, match="is not used, for it was revoked by its publisher"):
        running.run(recipe, home=tmp_path / "lab", name="after")
    assert not (tmp_path / "lab" / "channels" / "after.json").exists()
    with pytest.raises(UserError, match="was revoked"):
        models.load("before", home=tmp_path / "lab").export("hf", tmp_path / "out")


@pytest.mark.timeout(60)
def test_a_model_that_is_revoked_while_it_is_served_stops_with_its_reason(theirs, key, tmp_path, monkeypatch):
    monkeypatch.setattr(stoppable, "REVOCATION_TICKS", 1)
    ready, told = threading.Event(), []
    monkeypatch.setattr(server, "_announce", lambda *given: ready.set())

    def serve() -> None:
        try:
            server.serve_model(theirs, port=0, engine="torch")
        except UserError as error:
            told.append(str(error))

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(50)
    make_list(theirs, key, tmp_path / "list.json")
    time.sleep(0.3)
    assert thread.is_alive() and not told
    learn(tmp_path / "list.json")
    thread.join(20)
    assert told and "is served no more, for it was revoked by its publisher" in told[0]
