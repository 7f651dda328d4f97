"""Uploaded files as clients meet them: the official one, and raw HTTP where that cannot misbehave."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types import FileDeleted, FileObject

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.files.store import FileStore, NoRoom
from ayllu.serve.limits import Limits
from support.serving.server import serving

LIMITS = Limits(upload_bytes=3 << 20, files_bytes=4 << 20, body_bytes=4096)
BOUNDARY = b"frontier"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def address(folder: Path, engine: TorchEngine, home: Path) -> Iterator[str]:
    with serving(folder, engine, limits=LIMITS, home=home) as url:
        yield url


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def part(name: str, content: bytes, *more: bytes, filename: str | None = None) -> bytes:
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    headers = [b"Content-Disposition: " + disposition.encode(), *more]
    return b"--" + BOUNDARY + b"\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + content + b"\r\n"


def post(address: str, *parts: bytes, end: bytes = b"--" + BOUNDARY + b"--\r\n") -> httpx2.Response:
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    return httpx2.post(f"{address}/v1/files", content=b"".join(parts) + end, headers=headers)


def test_a_file_is_kept_listed_read_and_deleted(client: openai.OpenAI, home: Path) -> None:
    content = os.urandom(300_000)
    made = client.files.create(file=("../notes/ñandú.bin", content), purpose="user_data")
    assert FileObject.model_validate(made.model_dump(), strict=True) == made
    assert (made.filename, made.bytes, made.purpose, made.status) == ("ñandú.bin", 300_000, "user_data", "processed")
    assert abs(made.created_at - time.time()) < 60
    assert made.expires_at is None
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == content
    assert [file.id for file in client.files.list()] == [made.id]
    kept = list((home / "files").rglob("*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept if path.is_file()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in [home / "files", *kept] if path.is_dir()} == {0o700}
    gone = client.files.delete(made.id)
    assert FileDeleted.model_validate(gone.model_dump(), strict=True).deleted
    assert list((home / "files" / "content").iterdir()) == []
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError, match="there is no file"):
            call(made.id)


def test_a_page_that_was_uploaded_is_never_opened_as_one(client: openai.OpenAI) -> None:
    made = client.files.create(file=("page.html", b"<script>1</script>", "text/html"), purpose="assistants")
    headers = client.files.with_raw_response.content(made.id).headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment")
    assert headers["x-content-type-options"] == "nosniff"


def test_lists_come_in_pages(client: openai.OpenAI) -> None:
    made = [
        client.files.create(file=(f"{i}.txt", b"x"), purpose="vision" if i % 2 else "user_data").id for i in range(5)
    ]
    assert [file.id for file in client.files.list(limit=2)] == made[::-1]  # the client asks for page after page
    first = client.files.list(limit=2, order="asc")
    assert ([file.id for file in first.data], first.has_more) == (made[:2], True)
    last = client.files.list(limit=3, order="asc", after=made[1])
    assert ([file.id for file in last.data], last.has_more) == (made[2:], False)
    assert [file.id for file in client.files.list(purpose="vision")] == [made[3], made[1]]
    with pytest.raises(openai.NotFoundError, match="after"):
        client.files.list(after="file-none")
    with pytest.raises(openai.BadRequestError, match="limit"):
        client.files.list(limit=0)


def test_a_file_expires(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    made = client.files.create(
        file=("a.txt", b"x"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    batch = client.files.create(file=("b.jsonl", b"{}"), purpose="batch")
    assert made.expires_at == made.created_at + 3600
    assert batch.expires_at == batch.created_at + 30 * 86_400
    later = time.time() + 3601
    monkeypatch.setattr("ayllu.serve.files.store.time.time", lambda: later)
    assert [file.id for file in client.files.list()] == [batch.id]
    assert [path.name for path in (home / "files" / "content").iterdir()] == [batch.id]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "purpose is missing"),
        ({"purpose": "fun"}, "purpose must be one of"),
        ({"purpose": "batch", "colour": "red"}, "colour is not a parameter"),
        ({"purpose": "batch", "expires_after[anchor]": "now", "expires_after[seconds]": "3600"}, "created_at"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at"}, "from 3600 to 2592000"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "60"}, "from 3600"),
        ({"purpose": ["batch", "batch"]}, "purpose is there 2 times"),
    ],
)
def test_fields_that_say_nothing_sensible_are_refused(
    address: str, home: Path, fields: dict[str, Any], words: str
) -> None:
    reply = httpx2.post(f"{address}/v1/files", data=fields, files={"file": ("a.txt", b"x")})
    assert reply.status_code == 400
    assert words in reply.json()["error"]["message"]
    assert [*(home / "files" / "incoming").iterdir(), *(home / "files" / "content").iterdir()] == []


PURPOSE = part("purpose", b"batch")
FILE = part("file", b"x", filename="a.txt")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([PURPOSE], "file is missing"),
        ([PURPOSE, FILE, FILE], "file is there twice"),
        ([PURPOSE, part("file", b"x")], "file must be a file"),
        ([part("purpose", b"batch", filename="p"), FILE], "purpose must not be a file"),
        ([PURPOSE, part("file", b"x", filename="")], "filename must have"),
        ([PURPOSE, part("file", b"x", filename="a" * 256)], "filename must have"),
        ([PURPOSE, part("file", b"eA==", b"Content-Transfer-Encoding: base64", filename="a")], "is encoded"),
        ([part("purpose", b"\xff"), FILE], "not UTF-8"),
        ([part("purpose", b"x" * 70_000), FILE], "more than 65,536 bytes"),
        ([part(f"p{i}", b"") for i in range(70)], "more than 64 parts"),
        ([part("purpose", b"", b"X-Long: " + b"x" * 9000), FILE], "header"),
    ],
)
def test_forms_that_are_none_are_refused(address: str, home: Path, parts: list[bytes], words: str) -> None:
    reply = post(address, *parts)
    assert reply.status_code == 400
    assert words in reply.json()["error"]["message"]
    assert [*(home / "files" / "incoming").iterdir(), *(home / "files" / "content").iterdir()] == []


def test_a_form_without_its_end_is_refused(address: str) -> None:
    reply = post(address, PURPOSE, FILE, end=b"")
    assert reply.status_code == 400
    assert "ends before" in reply.json()["error"]["message"]
    assert httpx2.post(f"{address}/v1/files", json={"purpose": "batch"}).status_code == 400
    assert httpx2.get(f"{address}/v1/files").json()["data"] == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400) | st.just(b"\r\n--frontier") | st.just(b"\r\n--frontie\r\n--"))
def test_every_byte_comes_back(address: str, content: bytes) -> None:
    reply = httpx2.post(f"{address}/v1/files", data={"purpose": "user_data"}, files={"file": ("a.bin", content)})
    found = reply.json()
    assert found["bytes"] == len(content)
    assert httpx2.get(f"{address}/v1/files/{found['id']}/content").content == content


def test_sizes_are_bounded_and_uploads_alone_are_large(client: openai.OpenAI, address: str, home: Path) -> None:
    with pytest.raises(openai.APIStatusError, match="larger than 3,145,728 bytes; send a smaller file") as refused:
        client.files.create(file=("a", b"x" * (3 << 20)), purpose="user_data")
    assert refused.value.status_code == 413

    def endless() -> Iterator[bytes]:  # without an announced length
        yield PURPOSE + part("file", b"", filename="a")[:-2]
        for _ in range(5):
            yield b"x" * (1 << 20)

    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    reply = httpx2.post(f"{address}/v1/files", content=endless(), headers=headers)
    assert reply.status_code == 413
    client.files.create(file=("a", b"x" * (2 << 20)), purpose="user_data")
    with pytest.raises(openai.APIStatusError, match="4,194,304 bytes together"):
        client.files.create(file=("b", b"x" * (5 << 19)), purpose="user_data")
    assert len(client.files.list().data) == 1
    assert list((home / "files" / "incoming").iterdir()) == []
    assert httpx2.post(f"{address}/v1/embeddings", json={"input": "x" * 5000}).status_code == 413


def test_a_client_that_leaves_in_an_upload_leaves_nothing(address: str, home: Path) -> None:
    place = urlsplit(address)
    assert place.hostname is not None
    with socket.create_connection((place.hostname, place.port or 0)) as connection:
        body = PURPOSE + part("file", b"x" * 50_000, filename="a")
        connection.sendall(
            b"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900000\r\n"
            b"Content-Type: multipart/form-data; boundary=" + BOUNDARY + b"\r\n\r\n" + body[:-20]
        )
        _until(lambda: any((home / "files" / "incoming").glob("*")))
    _until(lambda: not any((home / "files" / "incoming").glob("*")))
    assert httpx2.get(f"{address}/v1/files").json()["data"] == []


def test_without_a_home_nothing_is_kept_and_a_sentence_says_so(url: str) -> None:
    reply = post(url, PURPOSE, FILE)
    assert reply.status_code == 501
    assert "without a home" in reply.json()["error"]["message"]


def test_a_home_that_cannot_be_written_is_named(folder: Path, engine: TorchEngine, tmp_path: Path) -> None:
    (tmp_path / "files").write_text("in the way")
    with serving(folder, engine, home=tmp_path) as url:
        reply = post(url, PURPOSE, FILE)
    assert reply.status_code == 507
    assert "cannot keep files" in reply.json()["error"]["message"]


def _upload_for_ever(place: Path, stage: str) -> None:
    store = FileStore(place, most_bytes=1 << 20)
    incoming = store.begin()
    incoming.write(b"half of it")
    if stage == "moved":
        incoming.settle()
        incoming.path.replace(place / "content" / incoming.id)
    (place.parent / "ready").touch()
    time.sleep(60)


@pytest.mark.parametrize("stage", ["written", "moved"])
def test_a_kill_in_an_upload_leaves_nothing_half_listed(tmp_path: Path, stage: str) -> None:
    store = FileStore(tmp_path / "files", most_bytes=100)
    with_row = store.begin()
    with_row.write(b"all of it")
    kept = store.keep(with_row, owner="", filename="a", purpose="batch")
    uploader = multiprocessing.get_context("spawn").Process(target=_upload_for_ever, args=(tmp_path / "files", stage))
    uploader.start()
    _until((tmp_path / "ready").exists)

    def held() -> list[Path]:
        return [*(tmp_path / "files" / "incoming").iterdir(), *(tmp_path / "files" / "content").iterdir()]

    FileStore(tmp_path / "files", most_bytes=100).close()
    assert len(held()) == 2  # another server's upload goes on
    assert uploader.pid is not None
    os.kill(uploader.pid, signal.SIGKILL)
    uploader.join()
    store = FileStore(tmp_path / "files", most_bytes=100)
    assert [path.name for path in held()] == [kept.id]
    assert store.all("", limit=10) == ([kept], False)
    assert store.path(kept).read_bytes() == b"all of it"


def test_files_are_those_of_their_owner_and_together_no_more_than_allowed(tmp_path: Path) -> None:
    store = FileStore(tmp_path, most_bytes=10)

    def add(owner: str, size: int) -> str:
        incoming = store.begin()
        incoming.write(b"x" * size)
        return store.keep(incoming, owner=owner, filename="a", purpose="batch").id

    mine, theirs = add("me", 4), add("they", 4)
    assert store.find(theirs, "me") is None
    assert not store.delete(theirs, "me")
    assert [file.id for file in store.all("me", limit=10)[0]] == [mine]
    with pytest.raises(KeyError):
        store.all("me", after=theirs, limit=10)
    with pytest.raises(NoRoom):
        add("me", 3)
    assert store.delete(theirs, "they")
    add("me", 3)
    assert len(list((tmp_path / "content").iterdir())) == 2


def _until(condition: Any) -> None:
    for _ in range(1500):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never happened")
