"""Proposals: they change no bit of an answer, are rows of one step, and rest where they do not come true."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ayllu.model.sampling import Sampling
from ayllu.serve.engines.engine import GenerationRequest, TextChunk
from ayllu.serve.engines.native.engine import NativeEngine
from ayllu.serve.engines.native.lookup import MOST, MOST_SURE, Lookup


@pytest.fixture(scope="module")
def engine(tied: Path, cache: Path) -> Iterator[NativeEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AYLLU_CACHE", str(cache))
        engine = NativeEngine(tied, bits=8, threads=2)
        yield engine
        engine.close()


def chunks_of(engine: NativeEngine, request: GenerationRequest) -> list[TextChunk]:
    return list(engine.generate(request, threading.Event()))


class Oracle(Lookup):
    """Knows what comes, and says something else from some place on."""

    coming: Sequence[int] = ()
    chance = random.Random(0)

    def propose(self, ids: Sequence[int], most: int) -> list[int]:
        right = list(self.coming[len(ids) : len(ids) + min(most, MOST_SURE)])
        wrong = self.chance.randrange(MOST_SURE + 1)
        return [token if at < wrong else (token + 1) % 300 for at, token in enumerate(right)]


@given(st.sampled_from([0.0, 1.0]), st.integers(0, 99), st.sampled_from([1.0, 1.3]), st.integers(1, 70))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_answer_is_the_same_to_the_last_bit_whatever_is_proposed(
    engine: NativeEngine, monkeypatch: pytest.MonkeyPatch, temperature: float, seed: int, penalty: float, most: int
) -> None:
    """Log-probabilities too, which tell logits apart that lead to one id; over the ends of pages."""
    request = GenerationRequest(
        prompt=[5, 6, 7, 8, 5, 6, 7],
        max_tokens=most,
        sampling=Sampling(temperature=temperature, seed=seed, repetition_penalty=penalty),
        logprobs=3,
    )
    with monkeypatch.context() as patch:
        patch.setattr(Lookup, "propose", lambda *_: [])
        expected = chunks_of(engine, request)
    Oracle.coming = [*request.prompt, *(drawn.id for chunk in expected for drawn in chunk.drawn)]
    Oracle.chance = random.Random(seed)
    free = engine._scheduler._pool.available
    with monkeypatch.context() as patch:
        patch.setattr(Lookup, "propose", Oracle.propose)
        patch.setattr(Lookup, "coming", Oracle.coming, raising=False)
        patch.setattr(Lookup, "chance", Oracle.chance, raising=False)
        found = chunks_of(engine, request)
    assert [chunk.drawn for chunk in found] == [chunk.drawn for chunk in expected]
    assert [chunk.text for chunk in found] == [chunk.text for chunk in expected]
    assert engine._scheduler._pool.available == free


def test_what_repeats_itself_is_computed_in_fewer_steps(engine: NativeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forced circle of five ids: once it has gone round a step gives four of them, and soon eight."""
    steps: list[int] = []
    inner = engine.model.step

    def step(rows: Sequence[object], wanted: Sequence[int]) -> None:
        steps.append(len(rows))
        inner(rows, wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.model, "step", step)
    monkeypatch.setattr(engine.model, "pick", lambda _, answer: 10 + (len(answer.ids) - answer.prompt) % 5)
    request = GenerationRequest(prompt=[3], max_tokens=48, sampling=Sampling(temperature=0.0))
    found = chunks_of(engine, request)
    assert sum(chunk.tokens for chunk in found) == 48
    assert len(steps) < 20
    assert MOST + 1 in steps and max(steps) == MOST_SURE + 1


def test_proposals_rest_where_they_do_not_come_true() -> None:
    one, ids, made = Lookup(), [1, 2, 3, 4], 0
    for number in range(400):
        proposed = one.propose(ids, MOST)
        if proposed:
            made += 1
            one.learn(len(proposed), 0)
        ids += [1, 2, 3] if number % 2 else [9]
    assert 0 < made < 400 // 10
    assert Lookup().propose([1, 2, 3, 4, 5, 1, 2, 3], 2) == [4, 5]
    assert Lookup().propose([1, 2, 3, 4, 5, 1, 2, 3], 0) == []
