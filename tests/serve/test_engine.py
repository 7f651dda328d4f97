from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ayllu.lab.error import UserError
from ayllu.model.files import hf
from ayllu.model.generate import GREEDY, Sampling, generate
from ayllu.serve.engines.engine import Piece, Request, TorchEngine


def answer(engine: TorchEngine, request: Request) -> list[Piece]:
    return list(engine.pieces(request, threading.Event()))


def count(pieces: list[Piece]) -> int:
    return sum(piece.tokens for piece in pieces)


def test_the_answer_is_what_the_model_generates(engine: TorchEngine, folder: Path) -> None:
    prompt = [engine.tokenizer.bos, *engine.tokenizer.encode("The llama")]
    pieces = answer(engine, Request(prompt=prompt, tokens=30, sampling=GREEDY))
    expected = list(generate(hf.load(folder), prompt, tokens=30, stop=engine.tokenizer.stops))
    assert count(pieces) == len(expected)
    assert "".join(p.text for p in pieces) == engine.tokenizer.decode(expected)
    assert [p.finish for p in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish == ("length" if len(expected) == 30 else "stop")


@pytest.mark.parametrize("name", ["eos", "eot"])
def test_both_stop_tokens_end_the_answer(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    ids = [*engine.tokenizer.encode("so"), getattr(engine.tokenizer, name), *engine.tokenizer.encode("more")]

    def scripted(*_: object, stop: frozenset[int], **__: object) -> object:
        for i in ids:
            if i in stop:
                return
            yield i

    monkeypatch.setattr("ayllu.serve.engines.engine.generate", scripted)
    pieces = answer(engine, Request(prompt=[1], tokens=50))
    assert "".join(p.text for p in pieces) == "so"
    assert pieces[-1].finish == "stop"


def test_a_stop_string_ends_the_answer_before_it(engine: TorchEngine) -> None:
    prompt, sampling = [engine.tokenizer.bos, 70, 71], Sampling(seed=4)
    whole = "".join(p.text for p in answer(engine, Request(prompt=prompt, tokens=60, sampling=sampling)))
    stop = whole[20:24]
    pieces = answer(engine, Request(prompt=prompt, tokens=60, sampling=sampling, stop=[stop]))
    assert "".join(p.text for p in pieces) == whole[: whole.find(stop)]
    assert pieces[-1].finish == "stop"
    assert count(pieces) < 60


def test_the_context_is_the_end(engine: TorchEngine) -> None:
    prompt = [65] * (engine.context - 5)
    pieces = answer(engine, Request(prompt=prompt, tokens=1000, sampling=Sampling(seed=1)))
    assert count(pieces) == 5
    assert pieces[-1].finish == "length"


def test_cancelling_stops_at_the_next_token(engine: TorchEngine) -> None:
    cancelled = threading.Event()
    pieces = engine.pieces(Request(prompt=[65], tokens=100, sampling=Sampling(seed=1)), cancelled)
    next(pieces)
    cancelled.set()
    assert list(pieces) == []


@pytest.mark.parametrize("content", [None, "", "{}", '{"model_type": "gpt2"}'])
def test_a_folder_without_a_model_is_refused_in_one_sentence(tmp_path: Path, content: str | None) -> None:
    place = tmp_path / "model"
    if content is not None:
        place.mkdir()
        (place / "config.json").write_text(content)
    with pytest.raises(UserError, match=str(place)) as caught:
        TorchEngine(place)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_its_model_is_refused(tmp_path: Path, engine: TorchEngine) -> None:
    engine.tokenizer.save(tmp_path)
    with pytest.raises(UserError, match=r"config\.json"):
        TorchEngine(tmp_path)
