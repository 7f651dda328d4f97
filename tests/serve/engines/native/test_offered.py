"""The native engine with all that the gateway offers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
import torch

from ayllu.model.files import hf
from ayllu.model.sampling import Sampling
from ayllu.serve.engines.engine import GenerationRequest
from ayllu.serve.engines.native.engine import NativeEngine
from ayllu.serve.engines.native.scheduler import PIECE
from support.models import SHAPES, save_tiny_model
from support.serving.server import serving


@pytest.fixture
def roomy(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[NativeEngine, Path]]:
    """A model with room for definitions of tools."""
    folder = save_tiny_model(tmp_path / "roomy", replace(SHAPES["tied"], context=2048))
    monkeypatch.setenv("AYLLU_CACHE", str(cache))
    engine = NativeEngine(folder, bits=16, threads=2)
    yield engine, folder
    engine.close()


def test_it_does_all_that_the_gateway_offers(roomy: tuple[NativeEngine, Path]) -> None:
    """Calls, shapes, log-probabilities, several choices and stop strings."""
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Puno", "Cusco"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    engine, folder = roomy
    with serving(folder, engine) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="-") as client:
        name = client.models.list().data[0].id
        asked: dict[str, Any] = {"model": name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 60}
        tool = {"type": "function", "function": {"name": "weather", "parameters": schema, "strict": True}}
        pieces = [
            call.function.arguments
            for chunk in client.chat.completions.create(**asked, tools=[tool], tool_choice="required", stream=True)
            for call in chunk.choices[0].delta.tool_calls or ()
        ]
        assert json.loads("".join(pieces).partition("}")[0] + "}")["city"] in ("Puno", "Cusco")
        shape = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
        several = client.chat.completions.create(
            **asked, response_format=shape, n=3, seed=1, logprobs=True, top_logprobs=2
        )
        for choice in several.choices:
            assert json.loads(choice.message.content or "")["city"] in ("Puno", "Cusco")
            assert choice.logprobs is not None and choice.logprobs.content
            assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)
        whole = client.chat.completions.create(**asked, seed=1).choices[0].message.content or ""
        stop = whole[3:5]
        cut = client.chat.completions.create(**asked, seed=1, stop=stop).choices[0]
        assert (cut.message.content, cut.finish_reason) == (whole.partition(stop)[0], "stop")


def test_it_says_how_likely_each_id_of_a_prompt_is(roomy: tuple[NativeEngine, Path]) -> None:
    """Over several pieces, and as well where the prompt is known already."""
    engine, folder = roomy
    model = hf.load(folder).eval()
    ids = [engine.tokenizer.bos, *engine.tokenizer.encode("The river and the stone. " * 25)]
    assert len(ids) > 2 * PIECE
    with torch.no_grad():
        expected_TV = model(torch.tensor([ids]))[0].log_softmax(-1)
    request = GenerationRequest(
        prompt=ids, max_tokens=2, sampling=Sampling(temperature=0.0), logprobs=1, prompt_logprobs=True
    )
    for _ in range(2):
        chunks = list(engine.generate(request, threading.Event()))
        told = [token for chunk in chunks for token in chunk.read]
        assert [token.id for token in told] == ids[1:]
        for at, token in enumerate(told):
            assert token.logprob == pytest.approx(float(expected_TV[at, token.id]), abs=0.05)
            assert token.top[0][1] == pytest.approx(float(expected_TV[at].max()), abs=0.05)
        assert sum(len(chunk.drawn) for chunk in chunks) == sum(chunk.tokens for chunk in chunks)
