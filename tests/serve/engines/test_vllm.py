"""vLLM behind the gateway, with a stand-in for its program: the same answers, and what happens when it ends.

The real one is run by bench/serving/vllm.py, for it takes an environment of its own with half a gigabyte.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from ayllu.lab.error import UserError
from ayllu.model.sampling import GREEDY, Sampling
from ayllu.serve.engines.choose import open_engine
from ayllu.serve.engines.engine import Engine, EngineEnded, GenerationRequest, TextChunk
from ayllu.serve.engines.process.supervised import start_engine
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.engines.vllm.engine import VllmEngine
from ayllu.serve.grammar import compile_choice, compile_json_object
from support.serving import vllm as stand_in
from support.serving.server import serving

LONG = GenerationRequest(
    prompt=[65, 66], max_tokens=200, sampling=Sampling(temperature=1.0, seed=3, logit_bias={69: 1.0})
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`vllm` on PATH."""
    place = tmp_path_factory.mktemp("bin")
    source = Path(stand_in.__file__)
    (place / "vllm").write_text(f'#!/bin/sh\nexec {sys.executable} {source} "$@"\n')
    (place / "vllm").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{place}:{os.environ['PATH']}")
        patch.setenv("PYTHONPATH", str(source.parents[2]), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def started(program: None, folder: Path) -> Iterator[VllmEngine]:
    engine = open_engine(folder, "vllm")
    assert isinstance(engine, VllmEngine)
    yield engine
    engine.close()


def answer(engine: Engine, request: GenerationRequest) -> list[TextChunk]:
    return list(engine.generate(request, threading.Event()))


def text(chunks: list[TextChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(group: int) -> None:
    end = time.monotonic() + 60
    while runs(group):
        assert time.monotonic() < end, "vLLM is left behind"
        time.sleep(0.05)


@pytest.mark.parametrize("beginning", ["They cook rice", "a boy", "Grüße"])
def test_ids_go_and_come_so_that_the_answer_is_the_models_own(
    started: VllmEngine, engine: TorchEngine, beginning: str
) -> None:
    prompt = [engine.tokenizer.bos, *engine.tokenizer.encode(beginning)]
    request = GenerationRequest(prompt=prompt, max_tokens=12, sampling=GREEDY, logprobs=2)
    theirs, ours = answer(started, request), answer(engine, request)
    assert text(theirs) == text(ours)
    assert theirs[-1].finish_reason == ours[-1].finish_reason
    assert sum(chunk.cached for chunk in theirs) == 1, "as the stand-in says behind the last id"
    drawn = [[(one.id, one.top) for chunk in chunks for one in chunk.drawn] for chunks in (theirs, ours)]
    assert drawn[0] == [(token, tuple(map(tuple, top))) for token, top in drawn[1]]


def test_what_a_request_says_reaches_it(started: VllmEngine, engine: TorchEngine) -> None:
    for options in (
        {"sampling": Sampling(temperature=1.0, top_k=5, top_p=0.9, min_p=0.01, seed=4)},
        {"sampling": Sampling(temperature=0, repetition_penalty=1.3, presence_penalty=0.5, frequency_penalty=0.2)},
        {"sampling": Sampling(temperature=0, logit_bias={69: 30.0, 70: -float("inf")})},
        {"grammar": compile_choice(["llama", "alpaca"]), "sampling": GREEDY},
        {"prompt": engine.tokenizer.encode("They cook"), "prompt_logprobs": True, "logprobs": 1, "sampling": GREEDY},
    ):
        given = {"prompt": [65, 66, 67], "max_tokens": 6} | options
        request = GenerationRequest(**given)  # type: ignore[arg-type]
        theirs, ours = answer(started, request), answer(engine, request)
        assert text(theirs) == text(ours), options
        read = [[(one.id, one.logprob) for chunk in chunks for one in chunk.read] for chunks in (theirs, ours)]
        assert read[0] == read[1]


def test_a_stop_string_hangs_up_and_a_grammar_that_is_left_is_no_answer(
    started: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = GenerationRequest(prompt=[65, 66], max_tokens=40, sampling=GREEDY)
    whole = text(answer(started, request))
    stopped = answer(started, GenerationRequest(prompt=[65, 66], max_tokens=40, sampling=GREEDY, stop=[whole[3:5]]))
    assert text(stopped) == whole[: whole.find(whole[3:5])]
    assert stopped[-1].finish_reason == "stop"
    monkeypatch.setattr("ayllu.serve.engines.vllm.engine._structure", lambda grammar: None)
    kept = GenerationRequest(prompt=[65, 66], max_tokens=8, sampling=GREEDY, grammar=compile_json_object())
    with pytest.raises(RuntimeError, match="vLLM left the grammar"):
        answer(started, kept)


def test_what_cannot_be_is_said_in_a_sentence(
    program: None, folder: Path, roomy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"vLLM at http://127\.0\.0\.1:9 cannot be reached"):
        open_engine(folder, "http://127.0.0.1:9")
    broken = tmp_path / "broken"
    subprocess.run(["cp", "-r", str(folder), str(broken)], check=True)
    (broken / "unreadable").touch()
    with pytest.raises(UserError, match=r"vLLM ended at its start .*the weights cannot be read"):
        open_engine(broken, "vllm")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="needs the program vllm on PATH"):
        open_engine(folder, "vllm")


def test_a_running_server_is_taken_by_its_address_and_asked_for_its_key(
    started: VllmEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert started.program is not None
    address = f"http://127.0.0.1:{started.program.port}"
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    with pytest.raises(UserError, match="wants a key; set VLLM_API_KEY"):
        open_engine(folder, address)
    monkeypatch.setenv("VLLM_API_KEY", started.program.key)
    with pytest.raises(UserError, match="has no adapter 'letters'; start it with --lora-modules letters=FOLDER"):
        open_engine(folder, address, adapters={"letters": folder})
    engine = open_engine(folder, address)
    assert text(answer(engine, LONG)) == text(answer(started, LONG))
    engine.close()
    assert started.program.process.poll() is None, "it is not ours to end"


def test_a_vllm_that_is_killed_is_started_again_and_none_is_left(program: None, folder: Path) -> None:
    engine = start_engine(folder, "vllm")
    groups = []
    try:
        with serving(folder, engine) as address:
            client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)

            def ask() -> str:
                given = client.completions.create(model="tiny", prompt="They cook", max_tokens=8, temperature=0)
                return given.choices[0].text

            before = ask()
            groups.append(_group(engine.pid))
            os.kill(groups[0], signal.SIGKILL)
            assert ask() == before
            assert engine.restarts == 1
            groups.append(_group(engine.pid))
            # The process between us and it killed: vLLM ends with it.
            assert engine.pid is not None
            os.kill(engine.pid, signal.SIGKILL)
            assert ask() == before
            groups.append(_group(engine.pid))
    finally:
        engine.close()
    for group in groups:
        wait_until_gone(group)


def test_a_server_elsewhere_that_goes_away_ends_the_answer_only(
    program: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = open_engine(folder, "vllm")
    assert isinstance(started, VllmEngine) and started.program is not None
    monkeypatch.setenv("VLLM_API_KEY", started.program.key)
    engine = start_engine(folder, f"http://127.0.0.1:{started.program.port}")
    try:
        assert text(list(engine.generate(LONG, threading.Event())))
        started.close()
        with pytest.raises(EngineEnded, match="went away"):
            list(engine.generate(LONG, threading.Event()))
        assert engine.restarts == 0
    finally:
        engine.close()


def _group(pid: int | None) -> int:
    """The process of vLLM below that of the engine."""
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True)
    (child,) = listed.stdout.split()
    return int(child)
