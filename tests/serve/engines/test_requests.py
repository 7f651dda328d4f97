"""What a request may ask, of every engine alike: grammars, penalties, bias, log-probabilities, cached tokens."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from ayllu.model.files import gguf, hf
from ayllu.model.sampling import GREEDY, Sampling
from ayllu.serve.engines.engine import DrawnToken, Engine, GenerationRequest, TextChunk
from ayllu.serve.engines.llama_cpp import LlamaCppEngine
from ayllu.serve.engines.native.engine import NativeEngine
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.grammar import compile_choice, compile_json_schema, compile_regex
from support.models import SHAPES, save_tiny_model
from support.serving.schemas import SCHEMAS

FORMATS = FormatChecker(["date", "ipv4", "uuid"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = save_tiny_model(tmp_path_factory.mktemp("requests") / "tiny", SHAPES["tied"])
    gguf.write(place / "tiny.gguf", hf.load(place), place, dtype="F32", name="tiny")
    return place


@contextmanager
def opened(name: str, home: Path) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AYLLU_CACHE", str(home.parent / "cache"))
        engine: Engine
        if name == "torch":
            engine = TorchEngine(home)
        elif name == "native":
            engine = NativeEngine(home, bits=16, threads=1)
        else:
            engine = LlamaCppEngine(home, next(home.glob("*.gguf")))
        yield engine
        engine.close()


@pytest.fixture(scope="module", params=["torch", "native", "llama.cpp"])
def asked(request: pytest.FixtureRequest, home: Path) -> Iterator[Engine]:
    with opened(request.param, home) as engine:
        yield engine


@pytest.fixture(scope="module", params=["torch", "native"])
def telling(request: pytest.FixtureRequest, home: Path) -> Iterator[Engine]:
    """An engine that tells log-probabilities."""
    with opened(request.param, home) as engine:
        yield engine


def answer(engine: Engine, **fields: Any) -> list[TextChunk]:
    given = {"prompt": [65, 66, 67], "max_tokens": 20, "sampling": GREEDY} | fields
    return list(engine.generate(GenerationRequest(**given), threading.Event()))


def text(chunks: list[TextChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def drawn(chunks: list[TextChunk]) -> list[DrawnToken]:
    return [one for chunk in chunks for one in chunk.drawn]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=SCHEMAS)
def test_an_answer_matches_its_schema(asked: Engine, schema: dict[str, Any]) -> None:
    grammar = compile_json_schema(schema)
    for seed in range(2):
        sampling = Sampling(temperature=1.0, top_p=1.0, seed=seed)
        chunks = answer(asked, grammar=grammar, sampling=sampling, max_tokens=150)
        if chunks[-1].finish_reason == "length":
            continue  # so much room is not enough for some
        Draft202012Validator(schema, format_checker=FORMATS).validate(json.loads(text(chunks)))
        assert text(answer(asked, grammar=grammar, sampling=sampling, max_tokens=150)) == text(chunks)


def test_an_answer_ends_where_nothing_can_follow(asked: Engine) -> None:
    chunks = answer(asked, grammar=compile_choice(["yes", "no"]))
    assert text(chunks) in ("yes", "no") and chunks[-1].finish_reason == "stop"
    exact = answer(asked, grammar=compile_regex("a{3}"), max_tokens=sum(chunk.tokens for chunk in chunks) + 3)
    assert text(exact) == "aaa" and exact[-1].finish_reason == "stop"
    cut = answer(asked, grammar=compile_regex("[a-z]{200}"), max_tokens=4)
    assert cut[-1].finish_reason == "length"


def test_bias_forces_and_forbids(asked: Engine) -> None:
    token = asked.tokenizer.encode("x")[0]
    forced = answer(asked, sampling=replace(GREEDY, logit_bias={token: 1000.0}))
    assert text(forced) == asked.tokenizer.decode([token]) * 20
    without = answer(asked, sampling=replace(GREEDY, logit_bias={token: 1000.0}), grammar=compile_regex("[a-w]{4}"))
    assert len(text(without)) == 4
    free = text(answer(asked, max_tokens=1))
    first = {token for token in range(590) if asked.tokenizer.decode([token]) == free}
    assert (
        text(answer(asked, max_tokens=1, sampling=replace(GREEDY, logit_bias=dict.fromkeys(first, -math.inf)))) != free
    )
    with pytest.raises(ValueError, match=r"logit_bias has the id 100000"):
        answer(asked, sampling=replace(GREEDY, logit_bias={100_000: 1.0}))


def test_nothing_is_drawn_where_every_id_is_forbidden(telling: Engine) -> None:
    nothing = dict.fromkeys(range(SHAPES["tied"].vocabulary), -math.inf)
    with pytest.raises(ValueError, match="every id is forbidden"):
        answer(telling, sampling=replace(GREEDY, logit_bias=nothing))


def test_penalties_count_the_answer_and_not_the_prompt(telling: Engine) -> None:
    liked = replace(GREEDY, logit_bias={65: 50.0, 300: 48.0, 301: 46.0})
    ids = [
        one.id for one in drawn(answer(telling, logprobs=0, max_tokens=6, sampling=replace(liked, presence_penalty=3)))
    ]
    assert ids == [65, 300, 65, 65, 65, 65] or ids[:2] == [65, 300], "65 stands in the prompt, which does not count"
    often = replace(liked, frequency_penalty=3)
    ids = [one.id for one in drawn(answer(telling, logprobs=0, max_tokens=6, sampling=often))]
    assert ids.count(65) > ids.count(300) > 0


def test_log_probabilities_are_the_models_own(telling: Engine, home: Path) -> None:
    """Whatever restricts the draw: bias, temperature and grammar change what comes, not how likely it is said to be."""
    prompt = [65, 66, 67]
    sampling = Sampling(temperature=0.5, seed=1, logit_bias={70: 4.0}, repetition_penalty=1.3)
    chunks = answer(telling, prompt=prompt, logprobs=5, sampling=sampling, grammar=compile_regex("[A-Za-z ]{3,9}"))
    told = drawn(chunks)
    assert len(told) == sum(chunk.tokens for chunk in chunks) > 0
    assert telling.tokenizer.decode([one.id for one in told]) == text(chunks)
    model, ids = hf.load(home).eval(), list(prompt)
    for one in told:
        with torch.no_grad():
            log = model(torch.tensor([ids]))[0, -1].float().log_softmax(-1)
        assert one.logprob == pytest.approx(float(log[one.id]), abs=0.02)
        assert [value for _, value in one.top] == pytest.approx(log.topk(5).values.tolist(), abs=0.02)
        ids.append(one.id)
    assert drawn(answer(telling)) == []


def test_what_the_prompt_shares_with_an_earlier_one_is_said(asked: Engine) -> None:
    prompt = [80 + number % 9 for number in range(100)]
    first, second = answer(asked, prompt=prompt), answer(asked, prompt=prompt)
    assert first[0].cached < 4
    assert second[0].cached == {NativeEngine: 96, LlamaCppEngine: 99}.get(type(asked), 0)
    assert not any(chunk.cached for chunk in second[1:])


@pytest.mark.parametrize(
    "fields",
    [{"logprobs": 0}, {"sampling": Sampling(presence_penalty=1)}, {"sampling": Sampling(frequency_penalty=1)}],
)
def test_llama_cpp_refuses_what_it_does_otherwise(home: Path, fields: dict[str, Any]) -> None:
    """It would count the prompt's tokens too, and tell of one token only where several make a character."""
    with opened("llama.cpp", home) as engine, pytest.raises(ValueError, match="cannot do"):
        answer(engine, **fields)


def test_llama_cpp_says_nothing_that_leaves_the_grammar(home: Path) -> None:
    """Where its own llguidance does not understand the grammar, it goes on without one."""
    grammar = 'start: %json {"type": "object", "x-guidance": {"json_allowed_escapes": "n"}}\n'
    with opened("llama.cpp", home) as engine:
        with pytest.raises(RuntimeError, match="left the grammar"):
            answer(engine, grammar=grammar)
        with pytest.raises(ValueError, match="special tokens"):
            answer(engine, grammar="start: <[590]>")


def test_special_ids_are_text_where_they_are_to_be_shown(asked: Engine) -> None:
    token = asked.tokenizer.special["<|start_header_id|>"]
    liked = replace(GREEDY, logit_bias={token: 1000.0})
    assert text(answer(asked, sampling=liked, max_tokens=2)) == ""
    assert text(answer(asked, sampling=liked, max_tokens=2, shown={token})) == "<|start_header_id|>" * 2


def test_an_adapter_that_is_not_there_is_refused_before_anything_is_computed(asked: Engine) -> None:
    with pytest.raises(ValueError, match="adapter"):
        asked.check(GenerationRequest(prompt=[1], max_tokens=1, adapter="poet"))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    sampling=st.builds(
        Sampling,
        seed=st.integers(0, 99),
        temperature=st.sampled_from([0.0, 0.7, 1.5]),
        top_p=st.sampled_from([0.5, 1.0]),
        presence_penalty=st.sampled_from([0.0, 1.5]),
        frequency_penalty=st.sampled_from([0.0, -0.5, 0.8]),
        repetition_penalty=st.sampled_from([1.0, 1.2]),
    ),
    grammar=st.sampled_from([None, compile_regex("([a-f]{3} ){8}")]),
    at=st.floats(0, 1, exclude_max=True),
)
def test_an_answer_that_goes_on_in_another_turn_is_what_it_would_have_been(
    telling: Engine, sampling: Sampling, grammar: str | None, at: float
) -> None:
    """By the seed, by penalties that count the answer alone, and by where it stands in its grammar."""
    whole = answer(telling, sampling=sampling, grammar=grammar)
    ids = [one for chunk in whole for one in chunk.ids]
    cut = int(at * len(ids))
    prompt = [65, 66, 67, *ids[:cut]]
    rest = answer(telling, prompt=prompt, written=cut, sampling=sampling, grammar=grammar, max_tokens=20 - cut)
    assert [one for chunk in rest for one in chunk.ids] == ids[cut:]
    assert rest[-1].finish_reason == whole[-1].finish_reason
