"""The held-out split: whole groups where it can, never more than a tenth, and something always left to learn from."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayllu.data.archive import default_cache
from ayllu.data.cleaning.clean import build_corpus
from ayllu.data.cleaning.dedup import split_key
from ayllu.data.cleaning.heldout import HELDOUT_MIN, ceiling, choose_heldout
from ayllu.data.corpus import Corpus
from ayllu.data.document import Document


def book(everyday: list[Document], start: int, count: int) -> str:
    return "\n\n".join(document.text for document in everyday[start : start + count])


def sides(folder: Path) -> tuple[list[Document], list[Document]]:
    out = folder.with_name(folder.name + "-corpus")
    out.mkdir()
    build_corpus([f"folder:{folder}"], out, default_cache())
    corpus = Corpus(out)
    return list(corpus.documents("train")), list(corpus.documents("heldout"))


@pytest.mark.parametrize("form", ["txt", "jsonl"])
@pytest.mark.parametrize("files", [1, 2, 3])
def test_of_a_few_long_texts_a_tenth_at_most_is_held_out(
    tmp_path: Path, everyday: list[Document], files: int, form: str
) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    for number in range(files):
        text = book(everyday, 900 * number, 900)
        text = text if form == "txt" else json.dumps({"text": text}) + "\n"
        (folder / f"input{number}.{form}").write_text(text)
    train, heldout = sides(folder)
    assert 0 < len(heldout) <= 0.1 * (len(train) + len(heldout))
    assert len({document.id.split(":")[0] for document in train}) == files, "each of them is learnt from"
    numbers = sorted(int(document.id.rsplit(":", 1)[1]) for document in heldout)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "one stretch, with one border"


def test_a_book_beside_articles_is_learnt_from(tmp_path: Path, everyday: list[Document]) -> None:
    # A name with which the book's key is among the lowest: it was held out whole.
    name = min((f"{i}.txt" for i in range(2000)), key=lambda n: split_key("folder:mixed", n, ""))
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / name).write_text(book(everyday, 0, 900))
    lines = (json.dumps({"text": document.text}) + "\n" for document in everyday[1000:1300])
    (folder / "articles.jsonl").write_text("".join(lines))
    train, heldout = sides(folder)
    assert not any(document.id.startswith(name) for document in heldout)
    assert sum(document.id.startswith(name) for document in train) > 50
    assert len(heldout) >= HELDOUT_MIN


@given(
    st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(1, 60)), max_size=30),
    st.integers(1, 10_000),
    st.sampled_from([0.1, 1.0, 5.0, 10.0, 40.0, 99.0]),
)
def test_there_is_always_something_to_learn_from(units: list[tuple[int, int]], size: int, percent: float) -> None:
    keys = np.array([key for key, count in units for _ in range(count)], dtype=np.uint64)
    sizes = np.array([1 + (size * i) % 977 for i in range(len(keys))])
    heldout, cut = choose_heldout(keys, sizes, percent)
    assert heldout.sum() <= ceiling(percent) * len(keys)
    assert sizes[heldout].sum() <= ceiling(percent) * sizes.sum() + 1e-6
    assert not len(keys) or not heldout.all()
    assert cut <= heldout.sum()
    if percent <= 10:
        assert ceiling(percent) == 0.1


def test_one_long_document_does_not_fill_the_held_out_part() -> None:
    keys = np.arange(100, dtype=np.uint64)
    sizes = np.full(100, 10)
    sizes[0] = 5000
    heldout, _ = choose_heldout(keys, sizes, 1.0)
    assert not heldout[0] and heldout.sum() == 10
