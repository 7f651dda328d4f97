"""Fetching: the right bytes or a sentence, once, also when two ask; and members that cannot leave their archive."""

import hashlib
import io
import multiprocessing
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.data import archive as module
from ayllu.data.archive import Archive, default_cache, fetch, members, open_member
from ayllu.data.conversations.dialogue import CHATTERBOT
from ayllu.lab.error import UserError
from support.archives import fetch_and_digest


def changed(**fields: str) -> Archive:
    values = {name: getattr(CHATTERBOT, name) for name in ("registry", "name", "version", "filename", "sha256")}
    return Archive(**{**values, **fields})


def leftovers(cache: Path) -> list[str]:
    return [p.name for p in (cache / "archives").iterdir() if p.name.startswith(".fetch-")]


def test_two_processes_that_fetch_one_archive_both_get_it(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        digests = pool.starmap(fetch_and_digest, [(CHATTERBOT, tmp_path)] * 2)
    assert digests == [CHATTERBOT.sha256] * 2
    assert leftovers(tmp_path) == []
    # Nothing that was downloaded has been run or unpacked beside the archive.
    assert [p.name for p in (tmp_path / "archives").iterdir() if p.suffix == ".whl"] == [CHATTERBOT.filename]


def test_another_digest_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"has sha256 {CHATTERBOT.sha256}, not 0000"):
        fetch(changed(sha256="0" * 64), tmp_path)
    assert not (tmp_path / "archives" / CHATTERBOT.filename).exists()
    assert leftovers(tmp_path) == []


def test_an_unknown_version_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        fetch(changed(version="99.99"), tmp_path)
    message = str(caught.value)
    assert "chatterbot-corpus 99.99 (pypi)" in message
    assert "\n" not in message
    assert "check the network" in message


def test_a_missing_client_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="npm, which is not installed"):
        fetch(changed(registry="npm"), tmp_path)


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="set AYLLU_CACHE"):
        fetch(CHATTERBOT, blocked)


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    payload = b"the archive" * 100

    def client(archive: Archive, scratch: Path) -> None:
        calls.append(archive.name)
        (scratch / archive.filename).write_bytes(payload)

    monkeypatch.setattr(module, "_run_client", client)
    pinned = changed(sha256=hashlib.sha256(payload).hexdigest())
    path = fetch(pinned, tmp_path)
    fetch(pinned, tmp_path)
    assert len(calls) == 1
    # The same size, one byte changed, the seal of the last check still there.
    path.write_bytes(b"X" + payload[1:])
    os.utime(path, ns=(1, 1))
    assert fetch(pinned, tmp_path).read_bytes() == payload
    assert len(calls) == 2


def test_the_default_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AYLLU_CACHE", "/somewhere")
    assert default_cache() == Path("/somewhere")
    monkeypatch.setenv("AYLLU_CACHE", "")
    assert default_cache() == Path.home() / ".cache" / "ayllu"


def tar_bytes(files: dict[str, bytes], mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def deb_bytes(files: dict[str, bytes], compression: str) -> bytes:
    data = tar_bytes(files, f"w:{compression}" if compression != "zst" else "w:")
    if compression == "zst":
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as out:
            out.write(data)
        data = sink.getvalue().to_pybytes()
    parts = [("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), (f"data.tar.{compression}".rstrip("."), data)]
    ar = b"!<arch>\n"
    for name, content in parts:
        ar += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        ar += b"\n" * (len(content) % 2)
    return ar


names = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,2}\.txt", fullmatch=True)


@settings(max_examples=25, deadline=None)
@given(files=st.dictionaries(names, st.binary(max_size=300), max_size=5), form=st.sampled_from(["xz", "gz", "zst", ""]))
def test_a_deb_gives_back_what_went_in(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], form: str
) -> None:
    path = tmp_path_factory.mktemp("deb") / "a.deb"
    path.write_bytes(deb_bytes(files, form))
    assert {name: file.read() for name, file in members(path)} == files


def test_wheels_and_tgz_give_back_what_went_in(tmp_path: Path) -> None:
    files = {"a/b.txt": b"one", "c.txt": b"two"}
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    (tmp_path / "t.tgz").write_bytes(tar_bytes(files, "w:gz"))
    for name in ("w.whl", "t.tgz"):
        assert {n: f.read() for n, f in members(tmp_path / name)} == files
        with open_member(tmp_path / name, "c.txt") as file:
            assert file.read() == b"two"
        with pytest.raises(UserError, match=r"holds no file d\.txt"), open_member(tmp_path / name, "d.txt"):
            pass


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "a/../../out.txt"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.tgz").write_bytes(tar_bytes({name: b"x"}, "w:gz"))
    (tmp_path / "d.deb").write_bytes(deb_bytes({name: b"x"}, "xz"))
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as wheel:
        wheel.writestr(name, b"x")
    for file in ("t.tgz", "d.deb", "w.whl"):
        with pytest.raises(UserError, match="leads out of it"):
            list(members(tmp_path / file))


def test_a_bomb_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMBER_LIMIT", 1 << 20)
    with zipfile.ZipFile(tmp_path / "w.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("zeros", bytes(3 << 20))
    read = 0
    with pytest.raises(UserError, match="unpacks to more than 1 MiB"), open_member(tmp_path / "w.whl", "zeros") as file:
        while chunk := file.read(1 << 16):
            read += len(chunk)
    assert read <= 1 << 20


@pytest.mark.parametrize("name", ["a.whl", "a.tgz", "a.deb"])
def test_damage_is_one_sentence_with_the_file(tmp_path: Path, name: str) -> None:
    whole = {
        "a.whl": b"PK nonsense",
        "a.tgz": tar_bytes({"a.txt": b"x" * 5000}, "w:gz")[:60],
        "a.deb": deb_bytes({"a.txt": os.urandom(5000)}, "xz")[:-800],
    }
    (tmp_path / name).write_bytes(whole[name])
    with pytest.raises(UserError, match=name):
        for _, file in members(tmp_path / name):
            file.read()
