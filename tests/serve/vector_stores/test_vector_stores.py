"""Vector stores through the official client: files are read, cut, embedded, found, and forgotten when gone."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai.types import VectorStore, VectorStoreDeleted
from openai.types.vector_stores import VectorStoreFileDeleted

from ayllu.serve.embeddings.encoder import SentenceEncoder
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.vector_stores.catalogue import Catalogue, Cut, NewFile
from support.serving.encoders import save_encoder, tiny_bert
from support.serving.server import serving
from support.texts import left_of

LLAMA = "The llama eats grass in the meadow, and the boy looks on. " * 3
ERROR = "Error E4012: the valve does not close. Call the plumber."


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SentenceEncoder:
    return SentenceEncoder(save_encoder(tmp_path_factory.mktemp("encoder"), tiny_bert()), name="tiny-bert", licence="X")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def address(folder: Path, engine: TorchEngine, home: Path, encoder: SentenceEncoder) -> Iterator[str]:
    with serving(folder, engine, home=home, encoders=[encoder]) as url:
        yield url


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def upload(client: openai.OpenAI, text: str | bytes, name: str = "notes.txt") -> str:
    content = text.encode() if isinstance(text, str) else text
    return client.files.create(file=(name, content), purpose="assistants").id


def strict(model: Any) -> Any:
    """`model`, which is just what the client's own type says."""
    type(model).model_validate(model.model_dump(), strict=True)
    return model


def ready(client: openai.OpenAI, files: Sequence[str], **options: Any) -> VectorStore:
    store = client.vector_stores.create(file_ids=list(files), **options)
    for _ in range(600):
        if (store := client.vector_stores.retrieve(store.id)).status == "completed":
            return store
        time.sleep(0.05)
    raise AssertionError(f"it was never read: {store}")


def test_files_are_read_cut_and_found(client: openai.OpenAI) -> None:
    llama, error = upload(client, LLAMA, "llama.md"), upload(client, ERROR, "error.txt")
    store = strict(ready(client, [llama, error], name="All", metadata={"a": "b"}))
    assert (store.name, store.metadata, store.file_counts.completed, store.file_counts.total) == (
        "All",
        {"a": "b"},
        2,
        2,
    )
    assert store.usage_bytes > len(LLAMA) + len(ERROR)
    hits = strict(client.vector_stores.search(store.id, query="what does E4012 mean?")).data
    assert (hits[0].file_id, hits[0].filename) == (error, "error.txt")
    assert hits[0].content[0].text == ERROR
    assert 0 <= hits[-1].score <= hits[0].score <= 1
    # Short enough for one vector with any vocabulary: the same text has the same.
    near = client.vector_stores.search(store.id, query=ERROR, ranking_options={"ranker": "none"}, max_num_results=1)
    assert [hit.file_id for hit in near.data] == [error]
    assert near.data[0].score > 0.9
    both = client.vector_stores.search(store.id, query=["E4012", "the boy looks on"])
    assert {hit.file_id for hit in both.data[:2]} == {llama, error}
    best = client.vector_stores.search(store.id, query="plumber", ranking_options={"score_threshold": 1.0})
    assert {hit.file_id for hit in best.data} <= {error}
    texts = [part.text for part in client.vector_stores.files.content(error, vector_store_id=store.id)]
    assert texts == [ERROR]


def test_chunks_are_as_long_as_asked(client: openai.OpenAI, encoder: SentenceEncoder) -> None:
    text = " ".join(f"llama {number}" for number in range(400))
    file, store = upload(client, text), client.vector_stores.create(name="chunks")
    how: Any = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 50}}
    added = strict(client.vector_stores.files.create_and_poll(file, vector_store_id=store.id, chunking_strategy=how))
    assert added.status == "completed"
    assert added.chunking_strategy is not None
    assert added.chunking_strategy.model_dump() == how
    texts = [part.text or "" for part in client.vector_stores.files.content(file, vector_store_id=store.id)]
    assert len(texts) > 5
    assert text.startswith(texts[0]) and text.endswith(texts[-1])
    assert {len(encoder.starts(one)) for one in texts[:-1]} == {100}
    for one, other in itertools.pairwise(texts):
        half = one[encoder.starts(one)[50] :]
        assert other.startswith(half)


def test_attributes_filter(client: openai.OpenAI) -> None:
    store = client.vector_stores.create()
    files = []
    for year, kind in ((2019, "note"), (2024, "note"), (2024, "book")):
        file = upload(client, f"{LLAMA} {year} {kind}")
        client.vector_stores.files.create_and_poll(
            file, vector_store_id=store.id, attributes={"year": year, "kind": kind, "old": year < 2020}
        )
        files.append(file)

    def found(filters: Any) -> list[int]:
        hits = client.vector_stores.search(store.id, query="llama", filters=filters).data
        return sorted({files.index(hit.file_id) for hit in hits})

    assert found({"type": "eq", "key": "kind", "value": "note"}) == [0, 1]
    assert found({"type": "gte", "key": "year", "value": 2020}) == [1, 2]
    assert found({"type": "in", "key": "kind", "value": ["book", "film"]}) == [2]
    assert found({"type": "nin", "key": "kind", "value": ["book"]}) == [0, 1]
    assert found({"type": "eq", "key": "old", "value": True}) == [0]
    assert found({"type": "eq", "key": "old", "value": 1}) == []
    assert found({"type": "lt", "key": "kind", "value": 3}) == []
    assert found({"type": "ne", "key": "none", "value": "x"}) == [0, 1, 2]
    newer = {"type": "gt", "key": "year", "value": 2019.5}
    book = {"type": "eq", "key": "kind", "value": "book"}
    assert found({"type": "and", "filters": [newer, {"type": "ne", "key": "kind", "value": "book"}]}) == [1]
    assert found({"type": "or", "filters": [book, {"type": "and", "filters": [newer]}]}) == [1, 2]
    changed = client.vector_stores.files.update(files[0], vector_store_id=store.id, attributes={"kind": "book"})
    assert strict(changed).attributes == {"kind": "book"}
    assert found(book) == [0, 2]


def test_batches(client: openai.OpenAI) -> None:
    store = client.vector_stores.create()
    files = [upload(client, f"{LLAMA} {i}") for i in range(3)] + [upload(client, b"\x89PNG\0", "a.png")]
    batch = strict(client.vector_stores.file_batches.create_and_poll(store.id, file_ids=files, attributes={"a": 1}))
    assert (batch.status, batch.file_counts.completed, batch.file_counts.failed) == ("completed", 3, 1)
    listed = client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, limit=2)
    assert [file.id for file in listed] == files[::-1]
    failed = client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, filter="failed").data
    assert [file.id for file in failed] == [files[3]]
    assert strict(failed[0]).last_error.code == "unsupported_file"
    assert "no text" in failed[0].last_error.message
    each: Any = [{"file_id": files[0], "attributes": {"b": 2}}]
    client.vector_stores.file_batches.create(store.id, files=each)
    assert client.vector_stores.files.retrieve(files[0], vector_store_id=store.id).attributes == {"b": 2}
    assert len(client.vector_stores.files.list(store.id).data) == 4
    more = [upload(client, f"{LLAMA * 20} {i}") for i in range(4)]
    other = client.vector_stores.file_batches.create(store.id, file_ids=more)
    cancelled = strict(client.vector_stores.file_batches.cancel(other.id, vector_store_id=store.id))
    assert cancelled.status == "cancelled"
    assert cancelled.file_counts.in_progress == 0
    assert cancelled.file_counts.cancelled >= 2


def test_lists_changes_and_deletion(client: openai.OpenAI, home: Path) -> None:
    made = [client.vector_stores.create(name=f"list {i}").id for i in range(3)]
    assert [one.id for one in client.vector_stores.list(limit=2)][:3] == made[::-1]
    assert [one.id for one in client.vector_stores.list(order="asc", after=made[0]).data] == made[1:]
    assert [one.id for one in client.vector_stores.list(order="asc", before=made[2], limit=2).data] == made[:2]
    changed = strict(
        client.vector_stores.update(
            made[0], name="other", expires_after={"anchor": "last_active_at", "days": 2}, metadata={"x": "y"}
        )
    )
    assert (changed.name, changed.metadata) == ("other", {"x": "y"})
    assert changed.expires_at == changed.last_active_at + 2 * 86_400
    assert client.vector_stores.update(made[0], name="third").metadata == {"x": "y"}
    file = upload(client, LLAMA)
    client.vector_stores.files.create_and_poll(file, vector_store_id=made[0])
    assert (home / "vector_stores" / f"{made[0]}.sqlite").stat().st_mode & 0o777 == 0o600
    gone = strict(client.vector_stores.files.delete(file, vector_store_id=made[0]))
    assert isinstance(gone, VectorStoreFileDeleted)
    assert client.vector_stores.search(made[0], query="llama").data == []
    assert client.files.retrieve(file).id == file
    assert isinstance(strict(client.vector_stores.delete(made[0])), VectorStoreDeleted)
    assert list((home / "vector_stores").glob(f"{made[0]}*")) == []
    with pytest.raises(openai.NotFoundError, match="no vector store"):
        client.vector_stores.retrieve(made[0])


def test_all_lists_are_paged_by_the_client(client: openai.OpenAI, address: str) -> None:
    made = [client.vector_stores.create(name=f"page {i}").id for i in range(5)]
    assert [one.id for one in client.vector_stores.list(limit=2, order="asc")][-5:] == made
    files = [upload(client, f"{LLAMA} {i}") for i in range(5)]
    batch = client.vector_stores.file_batches.create_and_poll(made[0], file_ids=files)
    lists: list[Any] = [
        lambda **cut: client.vector_stores.files.list(made[0], **cut),
        lambda **cut: client.vector_stores.file_batches.list_files(batch.id, vector_store_id=made[0], **cut),
        lambda **cut: client.vector_stores.files.list(made[0], filter="completed", **cut),
    ]
    for listed in lists:
        assert [one.id for one in listed(limit=2)] == files[::-1], "page after page"
        assert [one.id for one in listed(limit=2, order="asc")] == files
        assert [one.id for one in listed(limit=2, order="asc", after=files[1])] == files[2:]
        assert [one.id for one in listed(limit=2, after=files[3], before=files[0])] == [files[2], files[1]]
        assert [one.id for one in listed(limit=2, before=files[1])] == [files[3], files[2]], "the page before it"
        first = strict(listed(limit=2, order="asc")).to_dict()
        assert (first["first_id"], first["last_id"], first["has_more"]) == (files[0], files[1], True)
        last = listed(limit=2, order="asc", after=files[2]).to_dict()
        assert (last["first_id"], last["last_id"], last["has_more"]) == (files[3], files[4], False)
        back = listed(limit=2, order="asc", before=files[2]).to_dict()
        assert (back["first_id"], back["last_id"], back["has_more"]) == (files[0], files[1], False)
        empty = listed(after=files[0]).to_dict()
        assert (empty["data"], empty["has_more"]) == ([], False)
    for cut in ({"after": "file-none"}, {"before": "file-none"}):
        with pytest.raises(openai.NotFoundError, match="is nothing of this list"):
            client.vector_stores.files.list(made[0], **cut)  # type: ignore[arg-type]
    for query in ("limit=0", "limit=101", "order=up", "filter=read"):
        assert httpx2.get(f"{address}/v1/vector_stores/{made[0]}/files?{query}").status_code == 400


def test_what_is_deleted_while_it_is_listed_hides_nothing(client: openai.OpenAI) -> None:
    store = client.vector_stores.create(name="emptied").id
    files = [upload(client, f"{LLAMA} {i}") for i in range(5)]
    client.vector_stores.file_batches.create_and_poll(store, file_ids=files)
    for file in client.vector_stores.files.list(store, limit=2, order="asc"):
        client.vector_stores.files.delete(file.id, vector_store_id=store)
    assert client.vector_stores.files.list(store).data == []
    for one in client.files.list(limit=2):
        if one.id in files:
            client.files.delete(one.id)
    assert not {file.id for file in client.files.list()} & set(files)
    others = [client.vector_stores.create(name=f"gone {i}").id for i in range(5)]
    seen = []
    for other in client.vector_stores.list(limit=2):
        if other.id in others:
            client.vector_stores.delete(other.id)
        seen.append(other.id)
    assert seen[:5] == others[::-1] and store in seen
    assert not {other.id for other in client.vector_stores.list()} & set(others)


def test_files_that_are_read_meanwhile_break_no_list_of_those_that_wait(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "catalogue.sqlite")
    how: Any = {"embedder": "e", "fingerprint": "f", "dimensions": 2, "expires_days": None, "metadata": {}}
    new = [NewFile(id=f"file-{i}", filename="a", attributes={}, size=800, overlap=400) for i in range(4)]
    store = catalogue.create("", name="", description=None, files=new, **how).id
    first, more = catalogue.files_page(store, Cut(limit=2, oldest_first=True), status="in_progress")
    assert ([file.id for file in first], more) == (["file-0", "file-1"], True)
    catalogue.finish(first[1], "completed")
    rest = catalogue.files_page(store, Cut(limit=2, oldest_first=True, after="file-1"), status="in_progress")
    assert ([file.id for file in rest[0]], rest[1]) == (["file-2", "file-3"], False)
    catalogue.add(store, new[:1])
    again, _ = catalogue.files_page(store, Cut(limit=9, oldest_first=True))
    assert [file.id for file in again] == ["file-1", "file-2", "file-3", "file-0"], "what comes again stands last"


def test_a_deleted_file_is_found_no_more(client: openai.OpenAI) -> None:
    file = upload(client, ERROR)
    store = ready(client, [file])
    assert len(client.vector_stores.search(store.id, query="valve").data) == 1
    client.files.delete(file)
    assert client.vector_stores.search(store.id, query="valve").data == []
    assert client.vector_stores.retrieve(store.id).file_counts.total == 0


@pytest.mark.parametrize("way", ["file", "store's file", "store"])
def test_nothing_is_left_of_what_was_deleted(client: openai.OpenAI, home: Path, way: str) -> None:
    word = f"zanzibar{way.replace(' ', '').replace(chr(39), '')}"
    kept = upload(client, "The llama sleeps in the shed.")
    file = upload(client, f"The {word} lies under the third stone. " * 40, f"{word}.txt")
    store = ready(client, [kept, file])
    assert left_of(word, home)
    if way == "store":
        client.vector_stores.delete(store.id)
    elif way == "store's file":
        client.vector_stores.files.delete(file, vector_store_id=store.id)
    client.files.delete(file)
    deadline = time.monotonic() + 60
    while left_of(word, home) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_of(word, home) == []
    if way != "store":
        assert [hit.file_id for hit in client.vector_stores.search(store.id, query="llama").data] == [kept]


def test_a_store_expires_and_of_another_model_is_refused(
    client: openai.OpenAI, folder: Path, engine: TorchEngine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ready(client, [upload(client, ERROR)], expires_after={"anchor": "last_active_at", "days": 1})
    with serving(folder, engine, home=home) as url:  # without the encoder
        reply = httpx2.post(f"{url}/v1/vector_stores/{store.id}/search", json={"query": "valve"})
        assert reply.status_code == 409
        assert "embedded by tiny-bert" in reply.json()["error"]["message"]
    later = time.time() + 90_000
    monkeypatch.setattr("ayllu.serve.vector_stores.catalogue.time.time", lambda: later)
    assert client.vector_stores.retrieve(store.id).status == "expired"
    with pytest.raises(openai.BadRequestError, match="has expired"):
        client.vector_stores.search(store.id, query="valve")


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("", {"file_ids": ["file-none"]}, "no file 'file-none'"),
        ("", {"colour": "red"}, "colour is not a parameter"),
        ("", {"metadata": {"a": 1}}, "metadata"),
        ("", {"expires_after": {"anchor": "last_active_at", "days": 0}}, "days"),
        ("/STORE/files", {"file_id": "FILE", "chunking_strategy": {"type": "static"}}, "static"),
        (
            "/STORE/files",
            {
                "file_id": "FILE",
                "chunking_strategy": {
                    "type": "static",
                    "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 51},
                },
            },
            "at most half",
        ),
        ("/STORE/files", {"file_id": "FILE", "attributes": {"a": [1]}}, "attributes"),
        ("/STORE/file_batches", {}, "either file_ids or files"),
        ("/STORE/file_batches", {"files": [{"file_id": "FILE"}], "attributes": {}}, "in each of files"),
        ("/STORE/search", {"query": ""}, "query"),
        ("/STORE/search", {"query": "a", "max_num_results": 51}, "max_num_results"),
        ("/STORE/search", {"query": "a", "rewrite_query": True}, "rewrite_query"),
        ("/STORE/search", {"query": "a", "filters": {"type": "eq", "key": "k", "value": ["a"]}}, "one value"),
        ("/STORE/search", {"query": "a", "filters": {"type": "gt", "key": "k", "value": "a"}}, "numbers"),
        (
            "/STORE/search",
            {"query": "a", "ranking_options": {"hybrid_search": {"embedding_weight": 0, "text_weight": 0}}},
            "above 0",
        ),
        ("/vs_none/search", {"query": "a"}, "no vector store"),
        ("/STORE/file_batches/vsfb_none/cancel", {}, "no batch"),
    ],
)
def test_what_cannot_be_done_is_refused(
    client: openai.OpenAI, address: str, path: str, body: dict[str, Any], words: str
) -> None:
    store = client.vector_stores.create().id if "STORE" in path else ""
    given = {**body, "file_id": upload(client, "x")} if body.get("file_id") == "FILE" else body
    reply = httpx2.post(f"{address}/v1/vector_stores{path.replace('STORE', store)}", json=given)
    assert reply.status_code in (400, 404)
    assert words in reply.json()["error"]["message"]


def _serve(folder: Path, home: Path, encoder: Path, seconds: float) -> None:
    """A server whose embedder is slow, for a process of its own."""

    class Slow(SentenceEncoder):
        def embed(self, texts: Sequence[Sequence[int]]) -> Any:
            time.sleep(seconds)
            return super().embed(texts)

    slow = Slow(encoder, name="tiny-bert", licence=None)
    with serving(folder, TorchEngine(folder), home=home, encoders=[slow]) as url:
        (home / "url.part").write_text(url)
        (home / "url.part").rename(home / "url")
        time.sleep(120)


def test_a_kill_while_files_are_read_loses_none(folder: Path, engine: TorchEngine, tmp_path: Path) -> None:
    encoder, home = save_encoder(tmp_path, tiny_bert()), tmp_path / "home"
    home.mkdir()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, home, encoder, 30.0))
    server.start()
    while not (home / "url").exists():
        time.sleep(0.05)
    with openai.OpenAI(base_url=f"{(home / 'url').read_text()}/v1", api_key="none", max_retries=0) as client:
        files = [upload(client, f"{ERROR} {i}") for i in range(2)]
        store = client.vector_stores.create(file_ids=files).id
        assert client.vector_stores.retrieve(store).file_counts.in_progress == 2
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.join()
    again = SentenceEncoder(encoder, name="tiny-bert", licence=None)
    with (
        serving(folder, engine, home=home, encoders=[again]) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        for _ in range(600):
            if client.vector_stores.retrieve(store).status == "completed":
                break
            time.sleep(0.05)
        assert client.vector_stores.retrieve(store).file_counts.completed == 2
        assert {hit.file_id for hit in client.vector_stores.search(store, query="valve").data} == set(files)
    shutil.rmtree(home)
