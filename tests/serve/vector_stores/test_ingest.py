"""The indexes of vector stores: few are open, and what a kill left in one is wiped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ayllu.serve.retrieval.index import Index, Passage
from ayllu.serve.vector_stores.catalogue import Catalogue, NewFile
from ayllu.serve.vector_stores.ingest import MOST_OPEN, Indexes, Ingest
from support.texts import left_of


def test_many_stores_hold_few_files_open(tmp_path: Path) -> None:
    indexes, count = Indexes(tmp_path), 3 * MOST_OPEN

    def of(number: int) -> Index:
        return indexes.of(SimpleNamespace(id=f"vs_{number}", fingerprint="tiny", dimensions=2))  # type: ignore[arg-type]

    def opened() -> int:
        return sum(str(tmp_path) in str(place.resolve()) for place in Path("/proc/self/fd").iterdir())

    one = np.ones((1, 2), np.float32)
    in_use = of(0)
    for number in range(count):
        of(number).add("file", [Passage(text=f"llama {number}", vectors=one)])
    assert opened() <= 3 * (MOST_OPEN + 1)
    for number in (0, 1, count - 1):
        assert [hit.text for hit in of(number).search("llama", one[0], most=3)] == [f"llama {number}"]
    assert len(in_use.search("llama", one[0], most=3)) == 1, "it stays open for whoever uses it"
    indexes.delete("vs_0")
    assert not (tmp_path / "vs_0.sqlite").exists()


def test_what_a_kill_left_of_a_file_is_wiped_by_the_next_server(tmp_path: Path) -> None:
    one = np.ones((1, 2), np.float32)

    def open_all() -> tuple[Catalogue, Indexes, Ingest]:
        catalogue, indexes = Catalogue(tmp_path / "catalogue.sqlite"), Indexes(tmp_path)
        return catalogue, indexes, Ingest(catalogue, indexes, SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type]

    catalogue, indexes, _ = open_all()
    how: Any = {"embedder": "e", "fingerprint": "f", "dimensions": 2, "expires_days": None, "metadata": {}}
    store = catalogue.create("", name="", description=None, files=[], **how)
    for name in ("kept", "taken", "again"):
        indexes.of(store).add(name, [Passage(text=f"the {name}stone lies here", vectors=one)])
    catalogue.remove(store.id, "taken")
    catalogue.remove(store.id, "again")
    catalogue.add(store.id, [NewFile(id="again", filename="again.txt", attributes={}, size=100, overlap=0)])
    file = catalogue.next_to_read()
    assert file is not None and catalogue.finish(file, "completed")
    catalogue.close()

    catalogue, indexes, ingest = open_all()

    async def wipe() -> None:
        ingest.wake()
        while catalogue.next_to_wipe() is not None:
            await asyncio.sleep(0.01)

    asyncio.run(wipe())
    assert left_of("takenstone", tmp_path) == []
    texts = {name: indexes.of(store).chunks(name) for name in ("kept", "taken", "again")}
    assert texts == {"kept": ["the keptstone lies here"], "taken": [], "again": ["the againstone lies here"]}
