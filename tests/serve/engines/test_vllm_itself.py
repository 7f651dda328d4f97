"""vLLM itself, where its program is on PATH: what the stand-in claims, on SmolLM2."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ayllu.model.sampling import GREEDY, Sampling
from ayllu.recipes.adopt import adopt
from ayllu.serve.engines.engine import DrawnToken, Engine, GenerationRequest
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.engines.vllm.engine import VllmEngine
from ayllu.serve.grammar import compile_json_schema, compile_regex
from support.parts import need

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adopt("smollm2", home=tmp_path_factory.mktemp("home")).folder


@pytest.fixture(scope="module")
def ours(folder: Path) -> TorchEngine:
    return TorchEngine(folder)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Iterator[VllmEngine]:
    need(shutil.which("vllm"), "the program vllm is not on PATH")
    engine = VllmEngine(folder)
    yield engine
    engine.close()


def answer(engine: Engine, request: GenerationRequest) -> tuple[str, str | None, list[DrawnToken], list[DrawnToken]]:
    chunks = list(engine.generate(request, threading.Event()))
    drawn, read = ([one for chunk in chunks for one in getattr(chunk, name)] for name in ("drawn", "read"))
    return "".join(chunk.text for chunk in chunks), chunks[-1].finish_reason, drawn, read


def test_it_says_what_torch_says(ours: TorchEngine, theirs: VllmEngine) -> None:
    prompt = ours.tokenizer.encode("The capital of France is")
    request = GenerationRequest(prompt=prompt, max_tokens=8, sampling=GREEDY, logprobs=2, prompt_logprobs=True)
    text, finish, drawn, read = answer(theirs, request)
    expected = answer(ours, request)
    assert (text, finish) == expected[:2]
    # It computes in bfloat16, torch in float32.
    assert [one.logprob for one in drawn] == pytest.approx([one.logprob for one in expected[2]], abs=0.2)
    assert [one.logprob for one in read] == pytest.approx([one.logprob for one in expected[3]], abs=0.3)
    assert all(len(one.top) == 2 for one in drawn)


def test_it_keeps_to_our_grammars(ours: TorchEngine, theirs: VllmEngine) -> None:
    prompt = ours.tokenizer.encode("The capital of France is")

    def ask(grammar: str) -> str:
        request = GenerationRequest(prompt=prompt, max_tokens=60, sampling=GREEDY, grammar=grammar)
        text, finish, *_ = answer(theirs, request)
        assert finish == "stop"
        return text

    assert json.loads(ask(compile_json_schema(SCHEMA)))["city"] == "Paris"
    assert re.fullmatch(r"[0-9]{3}-[a-z]{1,9}", ask(compile_regex(r"[0-9]{3}-[a-z]{1,9}")))


def test_seeds_biases_and_stops(ours: TorchEngine, theirs: VllmEngine) -> None:
    prompt = ours.tokenizer.encode("The capital of France is")

    def ask(**options: object) -> str:
        given = {"prompt": prompt, "max_tokens": 20} | options
        return answer(theirs, GenerationRequest(**given))[0]  # type: ignore[arg-type]

    (paris,) = ours.tokenizer.encode(" Paris")
    assert ask(sampling=GREEDY, max_tokens=1) == " Paris"
    assert ask(sampling=Sampling(temperature=0, logit_bias={paris: -float("inf")}), max_tokens=1) != " Paris"
    drawn = [ask(sampling=Sampling(temperature=1.0, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert ask(sampling=GREEDY, stop=["ris"]) == " Pa"
