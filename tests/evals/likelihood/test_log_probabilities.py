"""Batched, shared and windowed likelihoods against a model run on one sequence at a time."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.evals.likelihood import log_probabilities as likelihood
from ayllu.evals.likelihood.log_probabilities import (
    Question,
    Segment,
    segment_log_likelihoods,
    segments,
    shared_log_likelihoods,
)
from support.models import TINY, sharp_model

V = 64
MODEL = sharp_model(replace(TINY, vocabulary=V, context=48))


def naive(ids: list[int], scored: int) -> float:
    """One sequence, one forward pass, a sum in Python."""
    with torch.inference_mode():
        log_TV = MODEL(torch.tensor([ids[:-1]])).log_softmax(-1)[0]
    return sum(float(log_TV[t - 1, ids[t]]) for t in range(len(ids) - scored, len(ids)))


ids = st.lists(st.integers(0, V - 1), min_size=1, max_size=20)
questions = st.lists(
    st.tuples(ids, st.lists(ids, min_size=1, max_size=4), st.booleans()).map(
        lambda parts: Question(parts[0], parts[1], [int(parts[2] and len(c) > 1) for c in parts[1]])
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(questions, st.sampled_from([16, 100, 8192]))
def test_shared_beginnings_give_what_one_by_one_gives(asked, batch_tokens):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likelihood, "BATCH_TOKENS", batch_tokens)
        patch.setattr(likelihood, "BATCH_FLOOR", batch_tokens // 4)
        answers = dict(shared_log_likelihoods(MODEL, asked))
    assert sorted(answers) == list(range(len(asked)))
    for number, question in enumerate(asked):
        answer = answers[number]
        for continuation, given_ids, value in zip(question.continuations, question.given, answer, strict=True):
            expected = naive([*question.beginning, *continuation], len(continuation) - given_ids)
            assert value == pytest.approx(expected, abs=2e-4)


def test_the_order_of_answers_does_not_depend_on_batching():
    generator = torch.Generator().manual_seed(0)
    asked = [
        Segment(torch.randint(0, V, (int(length),), generator=generator).tolist(), 1 + int(length) // 3)
        for length in torch.randint(2, 49, (200,), generator=generator)
    ]
    together = segment_log_likelihoods(MODEL, asked)
    assert together == pytest.approx([naive(s.ids, s.scored) for s in asked], abs=2e-4)


def test_a_long_beginning_is_cut_from_the_left():
    beginning = torch.randint(0, V, (80,), generator=torch.Generator().manual_seed(1)).tolist()
    continuation = [3, 1, 4, 1, 5]
    [(_, [value])] = shared_log_likelihoods(MODEL, [Question(beginning, [continuation], [0])])
    kept = (beginning + continuation)[-49:]  # 48 ids of context, and the last id that is only predicted
    assert value == pytest.approx(naive(kept, 5), abs=2e-4)


def test_a_continuation_longer_than_the_context_is_scored_whole():
    continuation = torch.randint(0, V, (130,), generator=torch.Generator().manual_seed(2)).tolist()
    [(_, [value])] = shared_log_likelihoods(MODEL, [Question([7, 8], [continuation], [0])])
    cut = list(segments([7, 8, *continuation], 2, context=48, stride=24))
    assert sum(segment.scored for segment in cut) == 130
    assert value == pytest.approx(sum(naive(list(s.ids), s.scored) for s in cut), abs=1e-3)


@given(st.integers(2, 300), st.integers(1, 60), st.data())
def test_segments_score_every_id_once_with_enough_before_it(length, context, data):
    stride = data.draw(st.integers(1, context))
    first = data.draw(st.integers(1, length))
    sequence = list(range(length))
    scored: list[int] = []
    for segment in segments(sequence, first, context=context, stride=stride):
        assert 1 <= segment.scored < len(segment.ids) <= context + 1
        assert list(segment.ids) == sequence[segment.ids[0] : segment.ids[-1] + 1]
        fresh = list(segment.ids[-segment.scored :])
        assert fresh[0] - segment.ids[0] >= min(fresh[0], context + 1 - stride)
        scored += fresh
    assert scored == sequence[first:]


def test_segments_refuse_what_cannot_be():
    for bad in ({"stride": 0}, {"stride": 9}):
        with pytest.raises(ValueError, match="windows"):
            list(segments([1, 2, 3], 1, context=8, **bad))
    with pytest.raises(ValueError, match="windows"):
        list(segments([1, 2, 3], 0, context=8, stride=4))


def test_bfloat16_is_close_and_float64_sums_are_exact_for_a_uniform_model():
    asked = [Segment(list(range(40)), 39)]
    exact, rough = segment_log_likelihoods(MODEL, asked), segment_log_likelihoods(MODEL, asked, dtype=torch.bfloat16)
    assert rough == pytest.approx(exact, rel=0.02)
    assert rough != exact
    uniform = sharp_model(replace(TINY, vocabulary=V, context=48))
    with torch.no_grad():
        uniform.output.weight.zero_()
    assert segment_log_likelihoods(uniform, asked) == pytest.approx([-39 * math.log(V)], rel=1e-6)
