"""Pieces of answers that leave together: nothing is lost, turned round or kept waiting for what does not come."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayllu.serve.engines.engine import TextChunk
from ayllu.serve.engines.process import pacing
from ayllu.serve.engines.process.pacing import INTERVAL, PIECES, PacedAnswer, Pacer


def token(number: int) -> TextChunk:
    return TextChunk(text=f"{number} ", tokens=1, ids=(number,))


@given(st.lists(st.tuples(st.floats(0, 3 * INTERVAL), st.booleans()), min_size=1, max_size=40))
def test_every_token_is_sent_once_in_order_and_the_first_and_the_last_at_once(steps):
    now, sent = [0.0], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: now[0]))
        paced = PacedAnswer(lambda chunk: sent.append((now[0], chunk)))
        for number, (pause, looked_at) in enumerate(steps):
            now[0] += pause
            if looked_at:
                paced.flush(due=True)
            paced.put(token(number))
            if number == 0:
                assert len(sent) == 1, "the first token waits for nothing"
        paced.put(TextChunk(text="", finish_reason="stop"))
    assert sent[-1][1].finish_reason == "stop"
    assert [one for _, chunk in sent for one in chunk.ids] == list(range(len(steps)))
    assert "".join(chunk.text for _, chunk in sent) == "".join(f"{n} " for n in range(len(steps)))
    between = [b - a for (a, _), (b, _) in itertools.pairwise(sent[:-1])]
    assert all(pause >= INTERVAL for pause in between)


def test_a_token_that_is_held_leaves_though_no_other_comes():
    arrived: list[TextChunk] = []
    came = threading.Semaphore(0)

    def send(chunk: TextChunk) -> None:
        arrived.append(chunk)
        came.release()

    with Pacer().answer(send) as paced:
        for number in range(3):
            paced.put(token(number))
        while sum(chunk.tokens for chunk in arrived) < 3:
            assert came.acquire(timeout=30), "what is held waits for more"
    assert [one for chunk in arrived for one in chunk.ids] == [0, 1, 2]


def test_an_answer_that_fails_gives_what_it_had_before_its_error():
    arrived: list[TextChunk] = []
    with pytest.raises(ValueError, match="too wide"), Pacer().answer(arrived.append) as paced:
        for number in range(3):
            paced.put(token(number))
        raise ValueError("the grammar is too wide")
    assert [one for chunk in arrived for one in chunk.ids] == [0, 1, 2]


def test_many_answers_together_send_no_more_pieces_than_the_processor_is_to_spare(monkeypatch):
    now, seconds, answers = [0.0], 4, 32
    monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=lambda _: time.sleep(60)))
    sent: list[TextChunk] = []
    with contextlib.ExitStack() as stack:
        pacer = Pacer()
        paced = [stack.enter_context(pacer.answer(sent.append)) for _ in range(answers)]
        for number in range(50 * seconds):
            now[0] = number / 50
            for one in paced:
                one.put(token(number))
    assert len(sent) <= PIECES * seconds + 2 * answers, "the first and the last of each are sent at once"
    assert sum(chunk.tokens for chunk in sent) == 50 * seconds * answers


def test_one_answer_holds_nothing_of_another_back():
    pacer, first, second = Pacer(), list[TextChunk](), list[TextChunk]()
    with pacer.answer(first.append) as one, pacer.answer(second.append) as other:
        one.put(token(1))
        other.put(token(2))
        assert [len(first), len(second)] == [1, 1]


def test_a_piece_that_cannot_leave_fails_its_own_answer_and_holds_no_other_back():
    pacer, came = Pacer(), threading.Semaphore(0)
    broken = threading.Event()

    def refuse(chunk: TextChunk) -> None:
        if chunk.ids == (1,):
            broken.set()
            raise TypeError("no such piece")

    with pytest.raises(TypeError, match="no such piece"), pacer.answer(refuse) as paced:
        paced.put(token(0))
        paced.put(token(1))
        assert broken.wait(timeout=30)
        for number in range(2, 100):
            threading.Event().wait(INTERVAL)
            paced.put(token(number))
    with pacer.answer(lambda chunk: came.release()) as paced:
        paced.put(token(0))
        paced.put(token(1))
        assert came.acquire(timeout=30) and came.acquire(timeout=30), "what is held leaves though another failed"
