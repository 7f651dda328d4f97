"""Packing: every id is predicted once, rows never mix documents, damage is noticed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.data.tokens.loader import IGNORED, Loader
from ayllu.data.tokens.pack import TokenizedDocument, Tokens, pack_best_fit, write_tokens

BOS, PAD = 1, 0
documents = st.lists(st.lists(st.integers(2, 99), min_size=0, max_size=60), min_size=1, max_size=30)


def write(folder: Path, texts: list[list[int]], length: int, **more: object) -> Tokens:
    pieces = [TokenizedDocument(ids=[BOS, *ids]) for ids in texts]
    write_tokens(folder, {"a": pieces}, length=length, vocabulary=100, bos=BOS, pad=PAD, **more)  # type: ignore[arg-type]
    return Tokens(folder)


@settings(max_examples=60, deadline=None)
@given(texts=documents, length=st.integers(2, 40))
def test_every_id_is_predicted_exactly_once_and_in_its_document(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[int]], length: int
) -> None:
    tokens = write(tmp_path_factory.mktemp("t"), texts, length)
    rows = tokens.header.sources["a"].rows
    batch = Loader(tokens, seed=0).batch(0, rows)
    targets = batch.targets_BT.numpy()
    predicted = sorted(targets[targets != IGNORED].tolist())
    assert predicted == sorted(i for text in texts for i in text)
    assert tokens.header.sources["a"].tokens == len(predicted)
    # Walk each document of each row: what precedes a target is its true predecessor.
    followers = {(a, b) for text in texts for a, b in zip([BOS, *text], text, strict=False)}
    ids = batch.ids_BT.numpy()
    for row in range(rows):
        for at in range(length):
            if targets[row, at] != IGNORED:
                assert (ids[row, at], targets[row, at]) in followers


@given(lengths=st.lists(st.integers(1, 50), max_size=60), data=st.data())
def test_fitting_loses_nothing_and_overfills_nothing(lengths: list[int], data: st.DataObject) -> None:
    opens = data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    groups = pack_best_fit(lengths, 50, opens)
    assert sorted(n for group in groups for n in group) == list(range(len(lengths)))
    for group in groups:
        assert sum(lengths[n] for n in group) <= 50
        assert not any(opens[n] for n in group[1:])


def test_documents_of_a_row_have_different_numbers(tmp_path: Path) -> None:
    tokens = write(tmp_path, [[5, 6, 7], [8, 9]], 8)
    batch = Loader(tokens, seed=0).batch(0, 1)
    assert batch.ids_BT.tolist() == [[BOS, 5, 6, 7, BOS, 8, 9, PAD]]
    assert batch.documents_BT.tolist() == [[1, 1, 1, 1, 2, 2, 2, 2]]
    assert batch.targets_BT.tolist() == [[5, 6, 7, IGNORED, 8, 9, IGNORED, IGNORED]]


def test_a_mask_says_what_is_predicted(tmp_path: Path) -> None:
    piece = TokenizedDocument(ids=[BOS, 5, 6, 7], predict=[False, False, True, True])
    write_tokens(tmp_path, {"a": [piece]}, length=4, vocabulary=100, bos=BOS, pad=PAD, masked=True)
    tokens = Tokens(tmp_path)
    assert Loader(tokens, seed=0).batch(0, 1).targets_BT.tolist() == [[IGNORED, 6, 7, IGNORED]]
    assert tokens.header.sources["a"].tokens == 2


def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    pieces = [TokenizedDocument(ids=[BOS, 128_255])]
    header = write_tokens(tmp_path, {"a": pieces}, length=4, vocabulary=128_256, bos=BOS, pad=PAD)
    assert header.dtype.itemsize == 4
    assert Tokens(tmp_path).rows("a", np.array([0]))[0, 1] == 128_255


def test_little_padding_on_documents_of_mixed_length(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    texts = [[5] * int(n) for n in random.integers(5, 250, 2000)]
    facts = write(tmp_path, texts, 256).header.sources["a"]
    assert (facts.tokens + facts.documents) / (facts.rows * 257) > 0.98


def test_a_truncated_file_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, [[5, 6, 7]] * 9, 8)
    with (tmp_path / "a.rows").open("r+b") as file:
        file.truncate(10)
    with pytest.raises(ValueError, match="damaged"):
        Tokens(tmp_path)
