"""Draws beside transformers' own processors of logits, and what penalties of OpenAI's API count."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.model.generate import distribution
from ayllu.model.sampling import Sampling, recommended_sampling
from support.parts import need_module

VOCABULARY = 60


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    seen=st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=8),
    sampling=st.builds(
        Sampling,
        temperature=st.floats(0.2, 2),
        top_p=st.sampled_from([1.0, 0.95, 0.6]),
        top_k=st.sampled_from([0, 1, 7, 40]),
        min_p=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
        repetition_penalty=st.sampled_from([1.0, 1.3, 0.8]),
        logit_bias=st.dictionaries(st.integers(0, VOCABULARY - 1), st.sampled_from([-math.inf, -3.0, 2.5]), max_size=3),
    ),
)
def test_ids_are_as_likely_as_in_transformers(seed: int, seen: list[int], sampling: Sampling) -> None:
    processors = need_module("transformers.generation.logits_process", "transformers is not installed")
    logits = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3
    scores, ids = logits[None].clone(), torch.tensor([seen])
    chain = []
    if sampling.logit_bias:
        # Its own refuses infinity; nothing else is as unlikely as this.
        bias = {(token,): max(value, -1e9) for token, value in sampling.logit_bias.items()}
        chain.append(processors.SequenceBiasLogitsProcessor(bias))
    chain.append(processors.RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    chain.append(processors.TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        chain.append(processors.TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        chain.append(processors.TopPLogitsWarper(sampling.top_p))
    chain.append(processors.MinPLogitsWarper(sampling.min_p))
    for processor in chain:
        scores = processor(ids, scores)
    theirs = scores[0].softmax(-1)
    order, weights = distribution(logits, seen, sampling)
    ours = torch.zeros(VOCABULARY).scatter(0, order, weights / weights.sum())
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_presence_and_frequency_count_the_answer_alone() -> None:
    """logit - times * frequency - (times > 0) * presence, as OpenAI's API defines it."""
    logits, answer = torch.zeros(5), [1, 1, 2]
    sampling = Sampling(temperature=1.0, top_p=1.0, presence_penalty=0.5, frequency_penalty=0.25)
    order, weights = distribution(logits, [0, 3, *answer], sampling, prompt=2)
    found = torch.zeros(5).scatter(0, order, weights)
    expected = torch.tensor([0, -0.5 - 2 * 0.25, -0.5 - 0.25, 0, 0.0]).softmax(-1)
    assert torch.allclose(found, expected)


@pytest.mark.parametrize(
    "values",
    [
        {"min_p": -0.1},
        {"min_p": 1.5},
        {"presence_penalty": float("nan")},
        {"frequency_penalty": 1000},
        {"logit_bias": {-1: 1.0}},
        {"logit_bias": {3: float("nan")}},
        {"logit_bias": {3: float("inf")}},
    ],
)
def test_impossible_values_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        Sampling(**values)  # type: ignore[arg-type]


def test_a_bias_cannot_be_changed_behind_a_draw() -> None:
    given = {3: 1.0}
    one, other = Sampling(logit_bias=given), Sampling(logit_bias={3: 1.0})
    given[3] = 9.0
    assert one == other and hash(one) == hash(other) and one.logit_bias[3] == 1.0


def test_a_models_own_min_p_is_followed() -> None:
    assert recommended_sampling({"min_p": 0.1}) == (Sampling(min_p=0.1), [])
