"""The order of the data: each row once per pass, the mix as asked, any sample without those before it."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayllu.data.tokens.loader import PATTERN, Loader, permute
from ayllu.data.tokens.pack import TokenizedDocument, Tokens, write_tokens


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    folder = tmp_path_factory.mktemp("tokens")
    sources = {
        "large": (TokenizedDocument(ids=[1, 2, 3]) for _ in range(700)),
        "small": (TokenizedDocument(ids=[1, 4, 5]) for _ in range(100)),
        "empty": iter(()),
    }
    write_tokens(folder, sources, length=2, vocabulary=9, bos=1, pad=0)
    return Tokens(folder)


@given(size=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
def test_permute_is_a_permutation(size: int, key: int) -> None:
    assert sorted(permute(i, size, key) for i in range(size)) == list(range(size))


def test_each_row_is_used_once_per_pass(tokens: Tokens) -> None:
    loader = Loader(tokens, seed=3, weights={"large": 1.0})
    for epoch in range(3):
        found = loader.locate(np.arange(epoch * 700, (epoch + 1) * 700))
        assert sorted(row for _, row in found) == list(range(700))
    orders = [[row for _, row in loader.locate(np.arange(e * 700, (e + 1) * 700))] for e in range(2)]
    assert orders[0] != orders[1]


def test_each_row_is_used_once_per_pass_in_a_mix(tokens: Tokens) -> None:
    loader = Loader(tokens, seed=3, weights={"large": 0.75, "small": 0.25})
    found = loader.locate(np.arange(4 * PATTERN))
    rows = [row for name, row in found if name == "small"]
    assert sorted(rows[:100]) == list(range(100)) == sorted(rows[100:200])


def test_the_mix_is_met(tokens: Tokens) -> None:
    loader = Loader(tokens, seed=0, weights={"large": 0.9, "small": 0.1})
    counts = Counter(name for name, _ in loader.locate(np.arange(10 * PATTERN)))
    assert counts["small"] == pytest.approx(0.1 * 10 * PATTERN, abs=10)


def test_a_sample_does_not_depend_on_how_it_is_reached(tokens: Tokens) -> None:
    loader, again = Loader(tokens, seed=5), Loader(tokens, seed=5)
    whole = loader.batch(0, 64)
    # Two processes with half of each batch, started anew in the middle.
    parts = [again.batch(first, 8).ids_BT for first in (32, 0, 56, 8, 48, 16, 40, 24)]
    assert {tuple(map(tuple, part.tolist())) for part in parts} == {
        tuple(map(tuple, whole.ids_BT[i : i + 8].tolist())) for i in range(0, 64, 8)
    }
    assert Loader(tokens, seed=6).locate(np.arange(64)) != loader.locate(np.arange(64))


def test_impossible_mixes_are_refused(tokens: Tokens) -> None:
    for weights, said in (({"other": 1.0}, "other"), ({"empty": 1.0}, "no rows"), ({"large": 0.0}, "no source")):
        with pytest.raises(ValueError, match=said):
            Loader(tokens, seed=0, weights=weights)
