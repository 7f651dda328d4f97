from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ayllu.lab.error import UserError
from ayllu.model.files import hf
from ayllu.model.generate import generate
from ayllu.model.sampling import GREEDY, Sampling
from ayllu.serve.engines.engine import GenerationRequest, TextChunk
from ayllu.serve.engines.torch_engine import TorchEngine


def answer(engine: TorchEngine, request: GenerationRequest) -> list[TextChunk]:
    return list(engine.generate(request, threading.Event()))


def count(chunks: list[TextChunk]) -> int:
    return sum(chunk.tokens for chunk in chunks)


def test_the_answer_is_what_the_model_generates(engine: TorchEngine, folder: Path) -> None:
    prompt = [engine.tokenizer.bos, *engine.tokenizer.encode("The llama")]
    chunks = answer(engine, GenerationRequest(prompt=prompt, max_tokens=30, sampling=GREEDY))
    expected = list(generate(hf.load(folder), prompt, tokens=30, stop=engine.tokenizer.stops))
    assert count(chunks) == len(expected)
    assert "".join(chunk.text for chunk in chunks) == engine.tokenizer.decode(expected)
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].finish_reason == ("length" if len(expected) == 30 else "stop")


@pytest.mark.parametrize("name", ["eos", "eot"])
def test_both_stop_tokens_end_the_answer(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    ids = [*engine.tokenizer.encode("so"), getattr(engine.tokenizer, name), *engine.tokenizer.encode("more")]

    def scripted(*_: object, stop: frozenset[int], **__: object) -> object:
        for i in ids:
            if i in stop:
                return
            yield i

    monkeypatch.setattr("ayllu.serve.engines.torch_engine.generate", scripted)
    chunks = answer(engine, GenerationRequest(prompt=[1], max_tokens=50))
    assert "".join(chunk.text for chunk in chunks) == "so"
    assert chunks[-1].finish_reason == "stop"


def test_a_stop_string_ends_the_answer_before_it(engine: TorchEngine) -> None:
    prompt, sampling = [engine.tokenizer.bos, 70, 71], Sampling(seed=4)
    whole = "".join(
        chunk.text for chunk in answer(engine, GenerationRequest(prompt=prompt, max_tokens=60, sampling=sampling))
    )
    stop = whole[20:24]
    chunks = answer(engine, GenerationRequest(prompt=prompt, max_tokens=60, sampling=sampling, stop=[stop]))
    assert "".join(chunk.text for chunk in chunks) == whole[: whole.find(stop)]
    assert chunks[-1].finish_reason == "stop"
    assert count(chunks) < 60


def test_the_context_is_the_end(engine: TorchEngine) -> None:
    prompt = [65] * (engine.context - 5)
    chunks = answer(engine, GenerationRequest(prompt=prompt, max_tokens=1000, sampling=Sampling(seed=1)))
    assert count(chunks) == 5
    assert chunks[-1].finish_reason == "length"


def test_cancelling_stops_at_the_next_token(engine: TorchEngine) -> None:
    cancelled = threading.Event()
    chunks = engine.generate(GenerationRequest(prompt=[65], max_tokens=100, sampling=Sampling(seed=1)), cancelled)
    next(chunks)
    cancelled.set()
    assert list(chunks) == []


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
