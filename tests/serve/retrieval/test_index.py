"""The index alone: what words and vectors find, together and apart, and that no change is there by half."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ayllu.serve.embeddings.pooling import unit
from ayllu.serve.retrieval.index import Index, OtherEmbedder, Passage

RNG = np.random.default_rng(0)
TEXTS = [
    "The alpacas graze in the meadow.",
    "Share prices fell on Monday.",
    "A recipe for potato soup with quinoa.",
    "Error E4012: the valve does not close.",
]


def vectors(count: int = 1) -> NDArray[np.float32]:
    return unit(RNG.normal(size=(count, 8)).astype(np.float32))


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "index.sqlite", embedder="e", dimensions=8)


def test_words_find_what_vectors_do_not_and_the_other_way_round(index: Index) -> None:
    kept = [vectors() for _ in TEXTS]
    for number, (text, vector) in enumerate(zip(TEXTS, kept, strict=True)):
        index.add(f"d{number}", [Passage(text=text, vectors=vector)])
    code = index.search("what is E4012?", kept[0][0], most=4, vector_weight=0)
    assert [hit.document for hit in code] == ["d3"]
    near = index.search("what is E4012?", kept[0][0], most=4, word_weight=0)
    assert near[0].document == "d0"
    assert near[0].score == pytest.approx(1, abs=1e-6)
    both = index.search("what is E4012?", kept[0][0], most=2)
    assert {hit.document for hit in both} == {"d0", "d3"}
    assert index.search("alpaca grazing", kept[0][0], most=1)[0].score == pytest.approx(1)  # stems, and first in both
    assert index.search("E4012", kept[0][0], most=1, word_weight=9)[0].document == "d3"
    assert index.search("E4012", kept[0][0], most=4, documents=["d1", "d2"], vector_weight=0) == []
    assert {hit.document for hit in index.search("E4012", kept[0][0], most=4, documents=["d1", "d2"])} == {"d1", "d2"}


@pytest.mark.parametrize("query", ['"', "AND OR NOT", "a* -b (c", "text:soup", "NEAR(a b)", "", "' ; --"])
def test_no_query_is_an_operator(index: Index, query: str) -> None:
    index.add("d", [Passage(text=TEXTS[2], vectors=vectors())])
    assert len(index.search(query, vectors()[0], most=3)) == 1


def test_a_chunk_is_as_near_as_its_nearest_part(index: Index) -> None:
    parts = vectors(3)
    index.add("d", [Passage(text="a", vectors=vectors()), Passage(text="b", vectors=parts)])
    for part in parts:
        hit = index.search("", part, most=1, word_weight=0)[0]
        assert (hit.text, hit.number) == ("b", 1)


def test_vectors_rank_as_numpy_does(index: Index) -> None:
    kept = vectors(300)
    for number, vector in enumerate(kept):
        index.add(f"{number}", [Passage(text="x", vectors=vector)])
    query = vectors()[0]
    expected = [str(i) for i in np.argsort(-(kept @ query), kind="stable")[:20]]
    assert [hit.document for hit in index.search("", query, most=20, word_weight=0)] == expected


def test_documents_are_replaced_and_removed_from_both_rankings(index: Index, tmp_path: Path) -> None:
    vector = vectors()
    used = index.add("d", [Passage(text="old words", vectors=vector), Passage(text="more", vectors=vector)])
    assert used == len("old wordsmore") + 2 * 8 * 4
    index.add("d", [Passage(text="new words", vectors=vector)])
    assert index.chunks("d") == ["new words"]
    assert index.search("old", vector[0], most=5, vector_weight=0) == []
    other = Index(tmp_path / "index.sqlite", embedder="e", dimensions=8)
    assert len(other.search("new", vector[0], most=5)) == 1
    index.remove("d")
    for one in (index, other):  # a change by another connection is seen
        assert one.search("new", vector[0], most=5) == []


def test_vectors_of_another_embedder_are_refused(index: Index, tmp_path: Path) -> None:
    for embedder, dimensions in (("f", 8), ("e", 9)):
        with pytest.raises(OtherEmbedder, match="those of e"):
            Index(tmp_path / "index.sqlite", embedder=embedder, dimensions=dimensions)


def test_readers_see_whole_documents_while_they_change(index: Index) -> None:
    vector = vectors()
    index.add("d", [Passage(text="one", vectors=vector)] * 3)
    done = threading.Event()
    seen: set[int] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(len(index.chunks("d")))

    reader = threading.Thread(target=read)
    reader.start()
    for count in (5, 3) * 10:
        index.add("d", [Passage(text="one", vectors=vector)] * count)
    done.set()
    reader.join()
    assert seen <= {3, 5}
