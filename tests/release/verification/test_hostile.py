"""A folder from a stranger: nothing in it makes verification hang, fill memory, or say what the stranger wrote."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.cli.release import app
from ayllu.lab.error import UserError
from ayllu.release import digest, sign, verify
from ayllu.release.files import contents, listing
from ayllu.release.files.contents import MANIFEST
from ayllu.release.gates import RECORDS
from ayllu.release.trust.known import known_path
from ayllu.release.trust.revoked import why_revoked
from ayllu.release.verify import verify_release
from support.parts import need
from support.release import document_again, edit, list_again, seal_again, sign_again

READ_FIRST = (sign.SIGNATURE, sign.PUBLIC_KEY, MANIFEST)


def problems(folder: Path, key: Path | None = None) -> list[str]:
    return [str(problem) for problem in verify_release(folder, key).problems]


@pytest.fixture
def hashed(monkeypatch) -> list[str]:
    """Names of the files that are read to be hashed, as it happens."""
    read: list[str] = []
    whole = digest._sha256
    monkeypatch.setattr(digest, "_sha256", lambda path, bar=None: read.append(path.name) or whole(path, bar))
    return read


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", [*READ_FIRST, "records.json", "README.md", "figures/more"])
@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "folder"])
def test_a_file_of_a_special_kind_is_named_and_never_opened(release, name, kind):
    path = release / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(path))
    else:
        path.mkdir()
    found = problems(release)
    if kind != "folder":
        assert f"{name} is a link or no regular file; a release holds files only" in found
    elif name != "figures/more":
        assert any(problem.startswith((f"{name} is missing", f"{name} cannot be read")) for problem in found)


def test_what_was_added_is_named_and_not_read(release, hashed):
    with (release / "more.bin").open("wb") as file:
        file.truncate(300 << 20)
    (release / "figures" / "more.py").write_text("print()")
    assert set(problems(release)) >= {
        "more.bin has 314,572,800 bytes, more than such a file of a release ever needs",
        "figures/more.py was added after the release was signed",
    }
    assert not {"more.bin", "more.py"} & set(hashed)


def test_a_file_of_another_size_is_changed_without_being_read(release, hashed):
    with (release / "model.safetensors").open("ab") as file:
        file.truncate(300 << 20)
    assert problems(release) == ["model.safetensors was changed after the release was signed"]
    assert "model.safetensors" not in hashed


def test_a_file_of_holes_is_refused_even_when_it_is_signed(release, monkeypatch, hashed):
    monkeypatch.setattr(listing, "HOLES_FROM", 1 << 20)
    with (release / "cria.gguf").open("wb") as file:
        file.truncate(4 << 20)
    seal_again(release)
    hashed.clear()
    assert problems(release)[0] == ("cria.gguf says 4,194,304 bytes, but is mostly holes; no model looks like that")
    assert "cria.gguf" not in hashed


@pytest.mark.parametrize("name", [*READ_FIRST, "records.json", "items.jsonl", "LICENSE"])
def test_a_file_too_large_to_be_read_is_named_even_when_it_is_signed(release, monkeypatch, name):
    monkeypatch.setattr(contents, "SMALL", 200_000)
    monkeypatch.setattr(contents, "LONGEST_LINES", 200_000)
    monkeypatch.setattr(listing, "SMALL", 200_000)
    with (release / name).open("ab") as file:
        file.write(b" " * 200_001)
    if name not in READ_FIRST:
        list_again(release, name)
        key = ec.generate_private_key(ec.SECP256R1())
        (release / sign.PUBLIC_KEY).write_bytes(sign.public_pem(key.public_key()))
        sign_again(release, key)
    assert f"{name} has {(release / name).stat().st_size:,} bytes, more than such a file" in problems(release)[0]


def test_folders_without_end_and_files_without_number_are_named(release, monkeypatch):
    deep = release / "figures"
    for _ in range(listing.DEEPEST + 3):
        deep = deep / "d"
    deep.mkdir(parents=True)
    assert any("lies more than 16 folders deep" in problem for problem in problems(release))
    shutil.rmtree(release / "figures" / "d")
    monkeypatch.setattr(listing, "MOST_FILES", 5)
    assert any(problem.startswith(". holds more than 5 files") for problem in problems(release))


def test_a_trusted_key_that_never_ends_is_a_users_error(built):
    with pytest.raises(UserError, match="holds no public key"):
        verify_release(built.folder, Path("/dev/zero"))


DRAWN = "x\x1b[2K\rcria 0.1.0 is verified: 21 files\n\u202e"


@pytest.mark.parametrize("field", ["name", "version", "model_digest"])
def test_no_text_of_a_stranger_draws_a_verdict(release, field, capsys):
    """In names of files, in the manifest, in the records: shown as it is, on its own line, never as the title."""
    (release / f"{DRAWN}.py").write_text("")
    edit(release / RECORDS, lambda records: records["release"].update({field: DRAWN}))
    edit(release / MANIFEST, lambda manifest: manifest.update({field: DRAWN}))
    list_again(release, RECORDS)
    key = ec.generate_private_key(ec.SECP256R1())
    (release / sign.PUBLIC_KEY).write_bytes(sign.public_pem(key.public_key()))
    sign_again(release, key)
    assert app(["verify", str(release)], result_action="return_value") == 1
    said = capsys.readouterr().out
    assert said.endswith("is NOT verified\n") and (field == "model_digest" or "\nrelease is NOT" in said)
    assert all(line.isprintable() for line in said.split("\n"))
    assert not any(line.startswith("cria 0.1.0 is verified") for line in said.splitlines())
    assert app(["verify", str(release), "--json"], result_action="return_value") == 1
    assert json.loads(capsys.readouterr().out)["verified"] is False


def test_a_long_text_of_a_stranger_is_cut(release):
    (release / ("x" * 250)).write_text("")
    edit(release / RECORDS, lambda records: records["model"].update(dtype="x" * 100_000))
    seal_again(release)
    assert max(map(len, problems(release))) < 700


def strange_name(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt")).write_text("")


def test_a_name_that_is_no_text_is_told(release, capsys):
    strange_name(release)
    assert app(["verify", str(release), "--json"], result_action="return_value") == 1
    assert json.loads(capsys.readouterr().out)["problems"][0]["file"] == "\udcff.txt"
    assert app(["verify", str(release)], result_action="return_value") == 1
    assert capsys.readouterr().out.startswith("\\udcff.txt was added after")


def through_hub_cache(release: Path, place: Path) -> Path:
    """As `snapshot_download` of huggingface_hub lays it out: links to blobs beside the snapshots."""
    blobs, snapshot = place / "models--a--cria" / "blobs", place / "models--a--cria" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(p for p in release.rglob("*") if p.is_file())):
        link = snapshot / path.relative_to(release)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, blobs / str(number))
        link.symlink_to(os.path.relpath(blobs / str(number), link.parent))
    (blobs / "attributes").write_text("*.gguf filter=lfs diff=lfs merge=lfs -text\n")
    (snapshot / ".gitattributes").symlink_to("../../blobs/attributes")
    return snapshot


def test_a_release_from_the_cache_of_the_hub_still_verifies(release, tmp_path):
    found = verify_release(through_hub_cache(release, tmp_path / "hub"))
    assert found.verified and found.beside == (".gitattributes",) and found.files == 30


def test_a_link_out_of_the_cache_of_the_hub_is_refused(release, tmp_path):
    snapshot = through_hub_cache(release, tmp_path / "hub")
    shutil.copyfile(release / "LICENSE", tmp_path / "elsewhere")
    (snapshot / "LICENSE").unlink()
    (snapshot / "LICENSE").symlink_to(tmp_path / "elsewhere")
    assert problems(snapshot) == ["LICENSE is a link or no regular file; a release holds files only"]


def test_a_release_in_a_folder_of_the_hubs_client_still_verifies(release):
    """As `hf download --local-dir` leaves it; whatever else lies there is an addition."""
    for path in (".gitattributes", ".cache/huggingface/.gitignore", ".cache/huggingface/CACHEDIR.TAG"):
        (release / path).parent.mkdir(parents=True, exist_ok=True)
        (release / path).write_text("*")
    for path in ("README.md.metadata", "figures/loss_curve.png.metadata", "README.md.lock"):
        (release / ".cache/huggingface/download" / path).parent.mkdir(parents=True, exist_ok=True)
        (release / ".cache/huggingface/download" / path).write_text("abc\n")
    found = verify_release(release)
    assert found.verified and found.beside == (".cache/huggingface", ".gitattributes")
    (release / ".cache/huggingface/download/more.py").write_text("")
    (release / ".cache/more.metadata").write_text("")
    assert problems(release) == [
        ".cache/huggingface/download/more.py was added after the release was signed",
        ".cache/more.metadata was added after the release was signed",
    ]


def test_a_clone_still_verifies(release, tmp_path):
    try:
        subprocess.run(["git", "init", "-q", release], check=True)
    except FileNotFoundError:
        need(None, "git is not installed")
        raise
    run = ["git", "-C", str(release), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*run, "add", "."], check=True)
    subprocess.run([*run, "commit", "-qm", "Release"], check=True)
    subprocess.run(["git", "clone", "-q", release, tmp_path / "clone"], check=True)
    found = verify_release(tmp_path / "clone")
    assert found.verified and found.beside == (".git",)


def test_a_pointer_of_git_lfs_is_named(release):
    (release / "cria.gguf").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert problems(release) == ["cria.gguf is a pointer of Git LFS and not the file: run `git lfs pull`"]


def command(*arguments: object) -> int:
    return app(["verify", *map(str, arguments)], result_action="return_value")


@pytest.fixture
def own_home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("AYLLU_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_key_of_a_name_is_kept_and_another_is_refused(release, own_home, tmp_path, capsys):
    assert command(release) == 0
    assert capsys.readouterr().out.startswith("The signer is unknown here")
    assert command(release) == 0
    assert "It is the key that signed cria when it was first verified here" in capsys.readouterr().out
    seal_again(release)
    assert command(release) == 1
    assert capsys.readouterr().out.startswith("signed by another key")
    assert command(release, "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert said["verified"] is False and said["signer"]["status"] == "changed"
    shutil.copyfile(release / sign.PUBLIC_KEY, tmp_path / "new.pub")
    assert command(release, "--key", tmp_path / "new.pub") == 0
    assert command(release) == 0


def test_an_older_release_by_the_same_key_is_told(release, own_home, tmp_path, capsys):
    key = ec.generate_private_key(ec.SECP256R1())
    for version, created in (("0.2.0", "2026-05-01T00:00:00+00:00"), ("0.1.0", "2026-04-01T00:00:00+00:00")):
        edit(release / RECORDS, lambda records, version=version: records["release"].update(version=version))
        old = {"0.2.0": "Version 0.1.0", "0.1.0": "Version 0.2.0"}[version]
        for name, told in (("README.md", old), ("TECHNICAL_REPORT.md", old.lower())):
            page = (release / name).read_text()
            (release / name).write_text(re.sub(told, f"{told.split()[0]} {version}", page))
        seal_again(release, key)
        edit(release / MANIFEST, lambda manifest, created=created: manifest.update(created=created))
        document_again(release)
        sign_again(release, key)
        assert command(release) == 0
    said = capsys.readouterr().out
    assert (
        "an older release: 2026-04-01T00:00:00+00:00 here, while 0.2.0 of 2026-05-01T00:00:00+00:00, by the same key, "
        "was verified here before"
    ) in said
    command(release, "--json")
    assert json.loads(capsys.readouterr().out)["signer"]["newer_version"] == "0.2.0"


def test_what_is_remembered_may_be_damaged_or_out_of_reach(release, own_home, capsys):
    key = verify_release(release).fingerprint
    for content in ("[]", "{", '{"cria": 3}', json.dumps({"cria": {"key": key}}), json.dumps({"cria": {"since": ""}})):
        known_path().parent.mkdir(parents=True, exist_ok=True)
        known_path().write_text(content)
        assert command(release) == 0
        assert "cannot be read" in capsys.readouterr().out
    known_path().unlink()
    os.mkfifo(known_path())
    assert command(release) == 0


def test_a_user_without_a_home_verifies_and_is_told_that_nobody_is_remembered(release, monkeypatch, capsys):
    def nowhere() -> Path:
        raise UserError("there is no home folder")

    monkeypatch.setattr(sign, "default_key_path", nowhere)
    assert why_revoked(release) is None
    assert command(release) == 0
    assert "no home folder, so that no signer is remembered: set AYLLU_HOME" in capsys.readouterr().out


def test_what_nobody_signed_is_not_read_at_any_length(release, monkeypatch, hashed):
    monkeypatch.setattr(verify, "UNSIGNED", 100_000)
    (release / sign.SIGNATURE).unlink()
    found = problems(release)
    assert "model.safetensors was changed after the release was signed" in found
    assert "model.safetensors" not in hashed and "LICENSE" in hashed
