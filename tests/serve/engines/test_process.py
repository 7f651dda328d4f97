"""An engine in a process of its own: the same answers, and what happens when the process is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import openai
import pytest

from ayllu.lab.error import UserError
from ayllu.model.sampling import GREEDY, Sampling
from ayllu.serve.engines.decode import joined
from ayllu.serve.engines.engine import EngineEnded, GenerationRequest, TextChunk
from ayllu.serve.engines.process import supervised
from ayllu.serve.engines.process.supervised import SupervisedEngine, start_engine
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.grammar import compile_choice
from support.serving.server import serving

LONG = GenerationRequest(
    prompt=[65, 66], max_tokens=200, sampling=Sampling(temperature=1.0, seed=3, logit_bias={69: 1.0})
)


@pytest.fixture(scope="module")
def apart(folder: Path) -> Iterator[SupervisedEngine]:
    engine = start_engine(folder, "torch")
    yield engine
    engine.close()
    assert engine.pid is None or not _runs(engine.pid)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def answer(engine: SupervisedEngine | TorchEngine, request: GenerationRequest) -> list[TextChunk]:
    return list(engine.generate(request, threading.Event()))


def whole(chunks: Sequence[TextChunk]) -> TextChunk:
    """An answer as one chunk: the process sends together what comes together."""
    found = joined(chunks)
    return replace(found, ids=tuple(found.ids), drawn=tuple(found.drawn))


def kill(engine: SupervisedEngine) -> None:
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)


def test_answers_are_the_engines_own_to_the_last_field(apart: SupervisedEngine, engine: TorchEngine) -> None:
    request = GenerationRequest(
        prompt=[65, 66, 67], max_tokens=6, sampling=GREEDY, logprobs=2, grammar=compile_choice(["llama", "alpaca"])
    )
    assert whole(answer(apart, request)) == whole(answer(engine, request))
    assert (apart.context, apart.parameters, apart.parallel) == (engine.context, engine.parameters, engine.parallel)
    with pytest.raises(ValueError, match="adapter"):
        apart.check(GenerationRequest(prompt=[1], max_tokens=1, adapter="poet"))
    with pytest.raises(ValueError, match="the context holds"):
        answer(apart, GenerationRequest(prompt=[65] * 1000, max_tokens=1))


def test_leaving_ends_the_computing_there(apart: SupervisedEngine) -> None:
    for _ in range(2 * apart.parallel):
        cancelled = threading.Event()
        chunks = apart.generate(LONG, cancelled)
        next(chunks)
        cancelled.set()
        assert list(chunks) == []
    left = apart.generate(LONG, threading.Event())
    next(left)
    left.close()  # type: ignore[attr-defined]
    assert answer(apart, GenerationRequest(prompt=[65], max_tokens=2, sampling=GREEDY))[-1].finish_reason


def test_an_answer_of_which_something_was_given_out_ends_with_an_error(apart: SupervisedEngine) -> None:
    chunks = apart.generate(LONG, threading.Event())
    while not next(chunks).tokens:
        pass
    before, restarts = apart.pid, apart.restarts
    kill(apart)
    with pytest.raises(EngineEnded, match="ask again"):
        list(chunks)
    assert answer(apart, LONG)[-1].finish_reason, "the next one is answered by a new process"
    assert apart.pid != before and apart.restarts == restarts + 1 and apart.alive


def test_an_answer_of_which_nothing_was_is_asked_again(apart: SupervisedEngine) -> None:
    undisturbed = whole(answer(apart, LONG))
    found: list[list[TextChunk]] = []
    assert apart.pid is not None
    os.kill(apart.pid, signal.SIGSTOP)  # it computes nothing before it is killed
    asking = [threading.Thread(target=lambda: found.append(answer(apart, LONG))) for _ in range(3)]
    for thread in asking:
        thread.start()
    time.sleep(0.2)
    kill(apart)
    for thread in asking:
        thread.join(timeout=60)
    assert [whole(chunks).text for chunks in found] == [undisturbed.text] * 3


def test_chunks_that_are_delivered_are_those_that_are_generated(apart: SupervisedEngine) -> None:
    chunks: list[TextChunk] = []
    apart.deliver(LONG, threading.Event(), chunks.append)
    assert whole(chunks) == whole(answer(apart, LONG))
    with pytest.raises(ValueError, match="the context holds"):
        apart.deliver(GenerationRequest(prompt=[65] * 1000, max_tokens=1), threading.Event(), chunks.append)


def test_delivery_ends_soon_after_nobody_wants_it(apart: SupervisedEngine) -> None:
    cancelled = threading.Event()
    chunks: list[TextChunk] = []

    def put(chunk: TextChunk) -> None:
        chunks.append(chunk)
        cancelled.set()

    apart.deliver(LONG, cancelled, put)
    assert len(chunks) == 1 and chunks[0].finish_reason is None


def test_a_listener_that_is_gone_ends_its_own_answer_only(apart: SupervisedEngine) -> None:
    def put(_: TextChunk) -> None:
        cancelled.set()
        raise RuntimeError("Event loop is closed")

    cancelled = threading.Event()
    apart.deliver(LONG, cancelled, put)
    assert answer(apart, LONG)[-1].finish_reason == "length"


def test_a_listener_that_fails_hears_of_it_and_nobody_else_waits(folder: Path) -> None:
    def put(_: TextChunk) -> None:
        raise KeyError("no room")

    with contextlib.closing(start_engine(folder, "torch")) as own:
        failures: list[KeyError] = []

        def deliver() -> None:
            try:
                own.deliver(LONG, threading.Event(), put)
            except KeyError as error:
                failures.append(error)

        thread = threading.Thread(target=deliver, daemon=True)
        thread.start()
        thread.join(30)
        assert [str(error) for error in failures] == ["'no room'"]
        assert answer(own, LONG)[-1].finish_reason == "length"


def test_what_was_delivered_in_part_is_not_asked_again_and_nothing_of_it_is_lost(folder: Path) -> None:
    with contextlib.closing(start_engine(folder, "torch")) as own:
        chunks: list[TextChunk] = []

        def put(chunk: TextChunk) -> None:
            chunks.append(chunk)
            if len(chunks) == 2:
                kill(own)

        with pytest.raises(EngineEnded, match="while it answered"):
            own.deliver(LONG, threading.Event(), put)
        assert chunks[0].tokens == 1 and chunks[1].tokens
        again: list[TextChunk] = []
        own.deliver(LONG, threading.Event(), again.append)
    before = whole(chunks)
    assert whole(again).text.startswith(before.text) and whole(again).ids[: before.tokens] == before.ids
    assert again[-1].finish_reason == "length"


READS_AND_ENDS = """
import os, socket, sys
from ayllu.serve.engines.process.wire import Wire

wire = Wire(socket.socket(fileno=int(sys.argv[1])))
messages = wire.messages()
next(messages)
shape = {"context": 8, "parameters": 1, "parallel": 1, "limits": "", "kind": "", "embeds": False, "accepts": None}
wire.send({"ready": shape})
for message in messages:
    wire.send({"id": message["id"], "chunk": ["", 0, None, 0, [], [[65, -1.0, []]], []]})
    os._exit(1)
"""


def test_what_was_told_of_a_prompt_is_not_told_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "PROGRAM", ("-c", READS_AND_ENDS))
    request = GenerationRequest(prompt=[65, 66], max_tokens=2, sampling=GREEDY, logprobs=0, prompt_logprobs=True)
    with contextlib.closing(start_engine(folder)) as own:
        delivered: list[TextChunk] = []
        with pytest.raises(EngineEnded, match="while it answered"):
            own.deliver(request, threading.Event(), delivered.append)
        assert [one.id for chunk in delivered for one in chunk.read] == [65]
        generated: list[TextChunk] = []
        with pytest.raises(EngineEnded, match="while it answered"):
            generated.extend(own.generate(request, threading.Event()))


def test_what_an_engine_takes_is_known_without_asking_it(apart: SupervisedEngine) -> None:
    assert apart.pid is not None
    os.kill(apart.pid, signal.SIGSTOP)  # as busy as can be
    try:
        apart.check(LONG)
        for wrong, told in (
            ({"prompt": [1] * 1000}, "the context holds"),
            ({"prompt": [1 << 20]}, "has the id"),
            ({"adapter": "poet"}, "no adapter 'poet'"),
        ):
            with pytest.raises(ValueError, match=told):
                apart.check(replace(LONG, **wrong))
    finally:
        os.kill(apart.pid, signal.SIGCONT)


def test_a_process_that_ends_again_and_again_is_given_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervised, "PAUSES", (0.0, 0.0))
    engine = start_engine(folder, "torch")
    kill(engine)
    monkeypatch.setattr(supervised.sys, "executable", "/bin/false")
    with pytest.raises(EngineEnded, match="2 times within a minute"):
        answer(engine, LONG)
    assert not engine.alive
    engine.close()
    assert "killed by signal 9" in capfd.readouterr().err


def test_what_cannot_be_opened_is_said_as_by_the_engine_itself(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        start_engine(tmp_path / "nothing", "torch")


LOADS = """
import signal, sys, time
from ayllu.serve.engines.process import child

def slow(*_, **__):
    print("loading", flush=True)
    for _ in range(600):
        time.sleep(0.1)

child.open_engine = slow
child.main(int(sys.argv[1]))
"""
SERVER = """
import socket, subprocess, sys, time
from ayllu.serve.engines.process.wire import Wire

ours, theirs = socket.socketpair()
loads = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(theirs.fileno())], pass_fds=[theirs.fileno()])
Wire(ours).send({"adapters": {}, "folder": "", "engine": "torch", "bits": None, "cache_bits": None})
print(loads.pid, flush=True)
time.sleep(600)
"""


def test_a_process_that_still_loads_ends_with_its_server() -> None:
    command = [sys.executable, "-c", SERVER, LOADS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = {server.stdout.readline().strip() for _ in range(2)}
        (pid,) = (int(word) for word in said if word.isdecimal())
        assert "loading" in said
        server.kill()
    for _ in range(300):
        if not _runs(pid):
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("it goes on loading for nobody")


def test_a_client_hears_of_it_and_is_answered_at_the_next_try(folder: Path, apart: SupervisedEngine) -> None:
    with (
        serving(folder, apart) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as client,
    ):
        stream = client.completions.create(
            model="tiny", prompt="They", max_tokens=150, stream=True, temperature=1, seed=4
        )
        next(stream)
        kill(apart)
        with pytest.raises(openai.APIError, match="ask again"):
            list(stream)
        assert client.completions.create(model="tiny", prompt="They", max_tokens=3).choices[0].finish_reason
