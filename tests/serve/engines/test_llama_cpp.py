from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from ayllu.lab.error import UserError
from ayllu.model.files import gguf, hf
from ayllu.model.files.quantize.types import Type
from ayllu.model.sampling import GREEDY, Sampling
from ayllu.release.exports.export import export_model
from ayllu.serve.engines import llama_cpp, sse
from ayllu.serve.engines.choose import open_engine
from ayllu.serve.engines.engine import Engine, GenerationRequest, TextChunk
from ayllu.serve.engines.llama_cpp import LlamaCppEngine
from ayllu.serve.engines.torch_engine import TorchEngine
from support.parts import need_module
from support.serving.server import serving

need_module("xllamacpp", "xllamacpp has no wheel for this platform")


@pytest.fixture(scope="module")
def release(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with its GGUF file beside it."""
    place = tmp_path_factory.mktemp("release") / "tiny"
    shutil.copytree(folder, place)
    gguf.write(place / "tiny.gguf", hf.load(place), place, dtype="F32", name="tiny")
    return place


@pytest.fixture(scope="module")
def llama(release: Path) -> Iterator[Engine]:
    engine = open_engine(release)
    assert isinstance(engine, LlamaCppEngine)
    yield engine
    engine.close()


def answer(engine: Engine, request: GenerationRequest) -> list[TextChunk]:
    return list(engine.generate(request, threading.Event()))


def text(chunks: list[TextChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def count(chunks: list[TextChunk]) -> int:
    return sum(chunk.tokens for chunk in chunks)


@pytest.mark.parametrize("beginning", ["They cook rice", "a boy", "Grüße"])
def test_both_engines_give_the_same_answer(llama: Engine, engine: TorchEngine, beginning: str) -> None:
    prompt = [engine.tokenizer.bos, *engine.tokenizer.encode(beginning)]
    request = GenerationRequest(prompt=prompt, max_tokens=12, sampling=GREEDY)
    theirs, ours = answer(llama, request), answer(engine, request)
    assert text(theirs).rstrip("\ufffd") == text(ours).rstrip("\ufffd")
    assert theirs[-1].finish_reason == ours[-1].finish_reason
    assert [chunk.finish_reason for chunk in theirs[:-1]] == [None] * (len(theirs) - 1)


def test_seeds_and_stops_and_the_context_mean_what_they_mean_elsewhere(llama: Engine) -> None:
    def ask(**options: object) -> list[TextChunk]:
        given = {"prompt": [65, 66], "max_tokens": 40, "sampling": Sampling(seed=7, temperature=1.0)} | options
        return answer(llama, GenerationRequest(**given))  # type: ignore[arg-type]

    whole = text(ask())
    assert whole == text(ask())
    assert whole != text(ask(sampling=Sampling(seed=8, temperature=1.0)))
    stopped = ask(stop=[whole[9:12]])
    assert text(stopped) == whole[: whole.find(whole[9:12])]
    assert stopped[-1].finish_reason == "stop"
    long = ask(prompt=[65] * (llama.context - 3), sampling=Sampling(seed=1))
    assert count(long) <= 3
    with pytest.raises(ValueError, match="context"):
        ask(prompt=[65] * (llama.context + 1))


@pytest.mark.parametrize("dtype", ["Q8_0", "Q4_0"])
def test_files_of_eight_and_four_bits_are_read(folder: Path, tmp_path: Path, dtype: Type) -> None:
    export_model(folder, "gguf", tmp_path / "out", dtype=dtype)
    (file,) = (tmp_path / "out").glob("*.gguf")
    engine = LlamaCppEngine(folder, file)
    prompt = engine.tokenizer.encode("The river and the stone")
    assert count(answer(engine, GenerationRequest(prompt=prompt, max_tokens=4, sampling=GREEDY))) > 0
    engine.close()


def test_cancelling_ends_the_answer(llama: Engine) -> None:
    cancelled = threading.Event()
    chunks = llama.generate(GenerationRequest(prompt=[65], max_tokens=200, sampling=Sampling(seed=2)), cancelled)
    next(chunks)
    cancelled.set()
    assert list(chunks) == []


def test_a_prompt_is_read_in_pieces_each_of_which_can_be_the_last(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp, "PIECE", 32)
    engine = LlamaCppEngine(release, release / "tiny.gguf")
    request = GenerationRequest(prompt=list(range(60, 230)), max_tokens=3, sampling=GREEDY)
    whole = answer(engine, request)
    reading = [chunk for chunk in whole if (chunk.text, chunk.tokens, chunk.finish_reason) == ("", 0, None)]
    assert len(reading) > 170 // 32
    cancelled = threading.Event()
    chunks = engine.generate(GenerationRequest(prompt=list(range(230, 60, -1)), max_tokens=3), cancelled)
    next(chunks)
    cancelled.set()
    assert list(chunks) == []
    engine.close()


def test_what_the_model_stops_at_is_what_its_files_say(llama: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    request = GenerationRequest(prompt=[65, 66], max_tokens=20, sampling=GREEDY)
    whole = answer(llama, request)
    monkeypatch.setattr(llama, "tokenizer", copy(llama.tokenizer))
    second = llama.tokenizer.encode(text(whole))[0]
    llama.tokenizer.stops = frozenset({second})
    stopped = answer(llama, request)
    assert stopped[-1].finish_reason == "stop"
    assert count(stopped) < count(whole)


def test_its_memory_has_a_limit_that_is_said(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: list[Any] = []

    def server(given: Any) -> None:
        settings.append(given)
        raise RuntimeError("not now")

    monkeypatch.setattr(llama_cpp, "machine_memory", lambda: 1 << 30)
    monkeypatch.setattr("xllamacpp.Server", server)
    with pytest.raises(UserError, match="not now"):
        LlamaCppEngine(release, release / "tiny.gguf")
    assert settings[0].cache_ram_mib == 64


def test_lines_of_events_end_at_line_feeds_only() -> None:
    said = "data: a\u2028b\x85c\x1cd\n\ndata: e\n".encode()
    parts = [said[at : at + 3] for at in range(0, len(said), 3)]
    assert list(sse.lines(parts)) == ["data: a\u2028b\x85c\x1cd".encode(), b"", b"data: e", b""]


def test_line_ends_of_unicode_in_a_prompt_are_answered(llama: Engine) -> None:
    prompt = llama.tokenizer.encode("one\u2028two\u2029three\x85four")
    assert answer(llama, GenerationRequest(prompt=prompt, max_tokens=3, sampling=GREEDY))[-1].finish_reason


def test_nobody_else_can_use_its_port(llama: Engine) -> None:
    assert isinstance(llama, LlamaCppEngine)
    place = llama._client.base_url
    assert httpx2.post(place.join("/completion"), json={"prompt": "x"}).status_code == 401
    assert place.host == "127.0.0.1"


def test_it_answers_through_the_gateway(release: Path, llama: Engine) -> None:
    with serving(release, llama) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="-") as client:
        made = client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "Hello"}], max_tokens=10, seed=3
        )
        stream = client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "Hello"}], max_tokens=10, seed=3, stream=True
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == made.choices[0].message.content
    assert made.usage is not None
    assert 0 < made.usage.completion_tokens <= 10


def test_the_engine_is_chosen_by_what_is_there(
    release: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(open_engine(folder), TorchEngine)
    assert isinstance(open_engine(release, "torch"), TorchEngine)
    with pytest.raises(UserError, match="0 GGUF files"):
        open_engine(folder, "llama.cpp")
    converted = open_engine(folder, "llama.cpp", convert=True)
    assert isinstance(converted, LlamaCppEngine)
    converted.close()
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    fields = json.loads((changed / "tokenizer.json").read_text())
    (changed / "tokenizer.json").write_text(json.dumps(fields | {"normalizer": {"type": "NFC"}}))
    with pytest.raises(UserError, match=r"llama\.cpp cannot have this model .*normalizes text"):
        open_engine(changed, "llama.cpp", convert=True)
    assert isinstance(open_engine(changed, convert=True), TorchEngine)
    assert "the slower engine torch serves it" in capsys.readouterr().err
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.gguf").write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(UserError, match="cannot read"):
        open_engine(broken, "llama.cpp")
    assert isinstance(open_engine(broken), TorchEngine)
    assert "cannot read" in capsys.readouterr().err
