"""Chunks lose nothing, and overlap by exactly what was asked."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayllu.serve.embeddings.hidden_states import HiddenStates
from ayllu.serve.retrieval import chunks
from ayllu.serve.retrieval.chunks import chunk, token_starts, windows


def starts(text: str) -> list[int]:
    """Tokens as words and signs."""
    return [found.start() for found in re.finditer(r"\w+|[^\w\s]", text)]


TEXTS = st.text(st.sampled_from("ab ,\n\tñ🦙"), max_size=200)


@given(text=TEXTS, size=st.integers(1, 20), overlap=st.integers(0, 19))
def test_nothing_is_lost_and_overlaps_are_exact(text: str, size: int, overlap: int) -> None:
    if overlap >= size:
        with pytest.raises(ValueError, match="cannot overlap"):
            chunk(text, starts(text), size=size, overlap=overlap)
        return
    tokens = starts(text)
    found = chunk(text, tokens, size=size, overlap=overlap)
    assert found == [one for one in found if one]
    # Put together without what they have in common, they are the text.
    at, first = 0, 0
    for number, one in enumerate(found):
        begin = tokens[first] if 0 < first < len(tokens) else 0
        assert text[begin : begin + len(one)] == one
        assert begin <= at
        if number:
            common = [token for token in tokens if begin <= token < at]
            assert len(common) == overlap
        at = begin + len(one)
        inside = [token for token in tokens if begin <= token < at]
        assert len(inside) == size or number == len(found) - 1
        assert len(inside) <= size
        first += size - overlap
    assert at == len(text)


@given(text=TEXTS, most=st.integers(1, 20))
def test_windows_are_the_text_and_none_is_too_long(text: str, most: int) -> None:
    parts = windows(text, starts(text), most=most)
    assert "".join(parts) == text
    assert all(len(starts(part)) <= most for part in parts)


def test_long_texts_are_tokenized_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "BLOCK", 50)
    text = "The llama eats grass.\n" * 20 + "x" * 200 + " end"
    assert [at for at in token_starts(text, starts) if not 440 < at < 640] == [
        at for at in starts(text) if not 440 < at < 640
    ]


@given(text=TEXTS)
def test_the_models_own_tokens_are_found(text: str, states: HiddenStates) -> None:
    found = states.starts(text)
    assert len(found) == len(states.encode(text)) - 1
    assert found == sorted(found)
    assert all(0 <= at < len(text) for at in found)
