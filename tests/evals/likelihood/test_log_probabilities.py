"""Batched, shared and windowed likelihoods against a model run on one sequence at a time."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.evals.likelihood import log_probabilities as likelihood
from ayllu.evals.likelihood.branches import Forward
from ayllu.evals.likelihood.fused import blocks
from ayllu.evals.likelihood.log_probabilities import (
    Question,
    Segment,
    greedy_log_likelihoods,
    segment_log_likelihoods,
    segments,
    shared_log_likelihoods,
)
from ayllu.model.transformer import Transformer
from ayllu.train.lora import LoraConfig, attach
from support.models import TINY, sharp_model

V = 64
MODEL = sharp_model(replace(TINY, vocabulary=V, context=48))
WIDE = sharp_model(replace(TINY, vocabulary=V, context=48, head_width=32))
"""One that code of our own computes between the products."""


def naive(ids: list[int], scored: int, model: Transformer = MODEL) -> float:
    """One sequence, one forward pass, a sum in Python."""
    with torch.inference_mode():
        log_TV = model(torch.tensor([ids[:-1]])).log_softmax(-1)[0]
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
@given(questions, st.sampled_from([16, 100, 8192]), st.sampled_from([MODEL, WIDE]))
def test_shared_beginnings_give_what_one_by_one_gives(asked, batch_tokens, model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(likelihood.BATCH_TOKENS, "cpu", batch_tokens)
        patch.setattr(likelihood, "ROW_TOKENS", batch_tokens)
        answers = dict(shared_log_likelihoods(model, asked))
    assert sorted(answers) == list(range(len(asked)))
    for number, question in enumerate(asked):
        answer = answers[number]
        for continuation, given_ids, value in zip(question.continuations, question.given, answer, strict=True):
            expected = naive([*question.beginning, *continuation], len(continuation) - given_ids, model)
            assert value == pytest.approx(expected, abs=2e-4)


@settings(max_examples=20, deadline=None)
@given(questions, st.sampled_from([torch.float32, torch.bfloat16]), st.sampled_from([1, 100, 1 << 20]), st.booleans())
def test_logits_in_blocks_give_what_whole_ones_give(asked, dtype, numbers, own_code):
    """However few columns are made at a time; which id is the likeliest too."""
    texts = [[*q.beginning, *ids] for q in asked for ids in q.continuations]
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setitem(likelihood.LOGITS, "cpu", numbers)
        patch.setattr(likelihood, "ROWS", 7)
        patch.setattr(blocks, "COLUMNS", 1 + numbers % 50)
        model = WIDE if own_code else MODEL
        found = greedy_log_likelihoods(model, [Segment(text, len(text) - 1) for text in texts], dtype=dtype)
        for number, value, likeliest in found:
            ids = torch.tensor(texts[number])
            logits_TV = model(ids[None, :-1], dtype=dtype)[0].float()
            places = torch.arange(len(ids) - 1)
            assert value == pytest.approx(
                float(logits_TV.log_softmax(-1)[places, ids[1:]].sum()), abs=2e-4 if dtype == torch.float32 else 0.5
            )
            if dtype == torch.float32:
                assert likeliest == bool((logits_TV.argmax(-1) == ids[1:]).all())


def test_of_equally_likely_ids_the_first_is_the_likeliest(monkeypatch):
    monkeypatch.setitem(likelihood.LOGITS, "cpu", 8)
    uniform = sharp_model(replace(TINY, vocabulary=V, context=48))
    with torch.no_grad():
        uniform.output.weight.zero_()
    asked = [Segment([5, 0], 1), Segment([5, 9], 1)]
    assert {number: likeliest for number, _, likeliest in greedy_log_likelihoods(uniform, asked)} == {0: True, 1: False}


def test_a_model_that_is_ready_computes_in_its_own_type():
    asked = [Question([1, 2, 3], [[4, 5], [6]], [0, 0])]
    forward = Forward(MODEL, torch.bfloat16)
    rough = dict(shared_log_likelihoods(forward, asked))
    assert rough == dict(shared_log_likelihoods(forward, asked))
    assert rough == dict(shared_log_likelihoods(MODEL, asked, dtype=torch.bfloat16))
    with pytest.raises(ValueError, match="bfloat16"):
        segment_log_likelihoods(forward, [Segment([1, 2], 1)], dtype=torch.float32)


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


def test_examples_before_many_questions_run_once_and_change_nothing(model, monkeypatch):
    """Five-shot questions: what all begin with is computed once, and each likelihood is that of the plain way."""
    generator = torch.Generator().manual_seed(5)

    def drawn(count: int) -> list[int]:
        return torch.randint(0, model.config.vocabulary, (count,), generator=generator).tolist()

    first, second = drawn(40), drawn(36)
    questions = [
        Question(beginning=[*first, *drawn(5)], continuations=[[7], [9], [11]], given=[0, 0, 0]),
        Question(beginning=drawn(12), continuations=[drawn(3), drawn(4)], given=[0, 1]),
        Question(beginning=[*first, *drawn(9)], continuations=[drawn(3), drawn(2)], given=[0, 0]),
        Question(beginning=[*second, *drawn(3)], continuations=[[1, 7], [1, 9]], given=[1, 1]),
        Question(beginning=[*second, *drawn(3)], continuations=[[1, 7], [1, 9]], given=[1, 1]),
        Question(beginning=[*first], continuations=[[7], [7]], given=[0, 0]),
    ]
    seen: list[int] = []
    monkeypatch.setattr(likelihood, "SAVED", 36)
    monkeypatch.setattr(Forward, "hidden", _counted(Forward.hidden, seen))
    found = dict(shared_log_likelihoods(model, questions))
    assert sum(seen) < 40 + 36 + 12 + 60
    for number, question in enumerate(questions):
        segments_of = [
            Segment([*question.beginning, *ids], len(ids) - given)
            for ids, given in zip(question.continuations, question.given, strict=True)
        ]
        assert found[number] == pytest.approx(segment_log_likelihoods(model, segments_of), abs=2e-4)


def _counted(hidden, seen):
    def counted(self, rows, **given):
        seen.append(sum(row.length for row in rows))
        return hidden(self, rows, **given)

    return counted


def test_a_model_under_adapters_is_scored_with_them():
    """Adapters that are not merged count: the figures are those of the merged weights."""
    model = sharp_model(replace(TINY, vocabulary=V, context=48))
    asked = [Question([1, 2, 3], [[4, 5], [6]], [0, 0])]
    [(_, plain)] = shared_log_likelihoods(model, asked)
    attach(model, LoraConfig(rank=2))
    for name, weight in model.named_parameters():
        if name.endswith((".a", ".b")):
            torch.nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(len(name)))
    [(_, found)] = shared_log_likelihoods(model, asked)
    expected = [segment_log_likelihoods(model, [Segment([1, 2, 3, *ids], len(ids))])[0] for ids in ([4, 5], [6])]
    with torch.inference_mode():
        log_TV = model(torch.tensor([[1, 2, 3, 4]])).log_softmax(-1)[0]
    assert found == pytest.approx(expected, abs=2e-4)
    assert found[0] == pytest.approx(float(log_TV[2, 4] + log_TV[3, 5]), abs=2e-4)
    assert found != pytest.approx(plain, abs=1e-2)
