"""Bits per byte against values worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.evals.likelihood.heldout import bits_per_byte, document_bits
from ayllu.evals.statistics import ratio_interval
from support.models import TINY, sharp_model
from support.texts import ENGLISH

V = 300


class Bytes:
    """A tokenizer whose ids are bytes, in pairs where `pairs` says so: two splittings of the same text."""

    bos = 299

    def __init__(self, size: int = 1) -> None:
        self.size = size

    def encode_batch(self, texts):
        return [[b % 256 for b in text.encode()[:: self.size]] for text in texts]


def uniform_model(**options):
    model = sharp_model(replace(TINY, vocabulary=V, **options))
    with torch.no_grad():
        model.output.weight.zero_()
    return model


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=150), min_size=1, max_size=8), st.integers(1, 3))
def test_a_uniform_model_needs_log2_v_bits_for_each_token(texts, size):
    tokenizer = Bytes(size)
    expected = sum(len(ids) for ids in tokenizer.encode_batch(texts)) * math.log2(V)
    documents = list(document_bits(uniform_model(context=16), tokenizer, [("s", text) for text in texts]))
    assert sum(document.bits for document in documents) == pytest.approx(expected, rel=1e-6)
    assert sum(document.bytes for document in documents) == sum(len(text.encode()) for text in texts)
    assert len(documents) == sum(1 for text in texts if text)


def test_a_document_is_worth_what_its_tokens_are_worth_one_by_one(tokenizer, model):
    text = ENGLISH[2]
    ids = [tokenizer.bos, *tokenizer.encode(text)]
    bits = 0.0
    with torch.inference_mode():
        for t in range(1, len(ids)):
            logits_V = model(torch.tensor([ids[:t]]))[0, -1]
            bits -= float(logits_V.log_softmax(-1)[ids[t]]) / math.log(2)
    score = bits_per_byte(model, tokenizer, [("english", text)])["english"]
    assert score.value == pytest.approx(bits / len(text.encode()), rel=1e-5)
    assert score.low is None


def test_long_documents_see_at_least_half_a_context(tokenizer, model):
    text = " ".join(ENGLISH)
    ids = [tokenizer.bos, *tokenizer.encode(text)]
    assert len(ids) > 3 * 32
    log_likelihoods: list[float] = []
    position = 1
    with torch.inference_mode():
        while position < len(ids):
            end = min(len(ids), max(position + 8, 33))
            window = ids[max(0, end - 33) : end]
            log_TV = model(torch.tensor([window[:-1]]))[0].log_softmax(-1)
            log_likelihoods += [float(log_TV[len(window) - 2 - (end - 1 - p), ids[p]]) for p in range(position, end)]
            position = end
    assert len(log_likelihoods) == len(ids) - 1
    [document] = document_bits(model, tokenizer, [("english", text)], context=32, stride=8)
    assert document.tokens == len(ids) - 1
    assert document.bits == pytest.approx(-sum(log_likelihoods) / math.log(2), rel=1e-5)


def test_sources_are_kept_apart_and_batching_does_not_show(tokenizer, model):
    texts = [("a" if i % 3 else "b", ENGLISH[i % 5][: 10 + i]) for i in range(40)]
    together = bits_per_byte(model, tokenizer, texts)
    assert set(together) == {"a", "b"}
    alone = [document for pair in texts for document in document_bits(model, tokenizer, [pair])]
    mine = [document for document in alone if document.source == "b"]
    expected = ratio_interval([d.bits for d in mine], [d.bytes for d in mine])
    assert together["b"].value == pytest.approx(expected.value, rel=1e-5)
    assert together["b"].low == pytest.approx(expected.low, rel=1e-4)


def test_what_cannot_be_measured_is_refused(tokenizer, model):
    with pytest.raises(ValueError, match="longer than the model's 96"):
        list(document_bits(model, tokenizer, [("a", "text")], context=97))
    with pytest.raises(ValueError, match="stride"):
        list(document_bits(model, tokenizer, [("a", "text")], context=8, stride=9))
    assert bits_per_byte(model, tokenizer, [("a", "")]) == {}
