"""Text completions as the official client sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
import torch
from openai.types import Completion

from ayllu.serve.engines.decode import Utf8Decoder
from ayllu.serve.engines.engine import DrawnToken
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.turn.drawn import DrawnText, Places, shown_token
from support.models import tiny_tokenizer
from support.serving.strict import strictly


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def go_on(client: openai.OpenAI, prompt: Any = "A boy", **options: Any) -> Completion:
    return client.completions.create(**{"model": "tiny", "prompt": prompt, "seed": 2, "max_tokens": 12, **options})


def test_each_token_is_told_with_its_likelihood_and_place(client: openai.OpenAI) -> None:
    made = go_on(client, logprobs=2, temperature=0).choices[0]
    told = made.logprobs
    assert told is not None
    assert told.tokens is not None
    assert told.text_offset is not None
    assert told.top_logprobs is not None
    assert len(told.tokens) == len(told.text_offset) == len(told.top_logprobs) == len(told.token_logprobs or ()) == 12
    assert all(len(top) == 2 for top in told.top_logprobs)
    for token, place in zip(told.tokens, told.text_offset, strict=True):
        assert token.startswith("bytes:") or made.text[place:].startswith(token)
    bare = go_on(client, logprobs=0).choices[0].logprobs
    assert bare is not None
    assert bare.top_logprobs == [{}] * 12
    assert go_on(client).choices[0].logprobs is None


def test_an_id_inside_a_character_has_the_place_of_the_character() -> None:
    tokenizer = tiny_tokenizer()
    ids = tokenizer.encode("a漢é.")
    places = Places(tokenizer, 10)
    assert [places.next(i) for i in ids] == [10, 11, 11, 11, 12, 12, 13]
    assert [shown_token(tokenizer, i) for i in ids[:3]] == ["a", r"bytes:\xe6", r"bytes:\xbc"]
    drawn, told = DrawnText(tokenizer), []
    decoder = Utf8Decoder(tokenizer)
    for number in ids:
        told.append(len(drawn.push([DrawnToken(id=number, logprob=-1.0)], decoder.push(number))))
    assert told == [1, 0, 0, 3, 0, 2, 1]


def test_ids_of_a_stop_string_are_no_part_of_the_answer(client: openai.OpenAI) -> None:
    whole = go_on(client, logprobs=0, max_tokens=30).choices[0]
    stop = whole.text[9:12]
    cut = go_on(client, logprobs=0, max_tokens=30, stop=stop).choices[0]
    assert cut.text == whole.text[: whole.text.find(stop)]
    assert cut.logprobs is not None
    assert cut.logprobs.text_offset is not None
    assert max(cut.logprobs.text_offset) < len(cut.text)
    streamed = list(go_on(client, logprobs=0, max_tokens=30, stop=stop, stream=True))
    places = [place for c in streamed if c.choices[0].logprobs for place in c.choices[0].logprobs.text_offset or ()]
    assert places == cut.logprobs.text_offset


def test_the_prompt_is_echoed_and_nothing_else_where_nothing_else_is_wanted(
    client: openai.OpenAI, engine: TorchEngine
) -> None:
    plain = go_on(client, ["A boy", "Ein Bär"])
    echoed = go_on(client, ["A boy", "Ein Bär"], echo=True)
    assert [c.text for c in echoed.choices] == ["A boy" + plain.choices[0].text, "Ein Bär" + plain.choices[1].text]
    by_id = go_on(client, engine.tokenizer.encode("Ein Bär"), echo=True, max_tokens=0)
    assert (by_id.choices[0].text, by_id.choices[0].finish_reason) == ("Ein Bär", "length")
    assert by_id.usage is not None
    assert by_id.usage.completion_tokens == 0
    streamed = "".join(c.choices[0].text for c in go_on(client, "A boy", echo=True, stream=True))
    assert streamed == echoed.choices[0].text


@pytest.mark.parametrize("most", [0, 5])
@pytest.mark.parametrize("prompt", ["Ein Bär, ein Bär", "ids"])
def test_what_is_echoed_is_told_with_its_likelihood(
    client: openai.OpenAI, engine: TorchEngine, prompt: str, most: int
) -> None:
    tokenizer, text = engine.tokenizer, "Ein Bär, ein Bär"
    inner = tokenizer.encode(text)
    given: Any = text if prompt != "ids" else inner
    ids = [tokenizer.bos, *inner] if prompt != "ids" else inner
    made = go_on(client, given, echo=True, logprobs=2, max_tokens=most, temperature=0)
    choice = made.choices[0]
    told: Any = choice.logprobs
    with torch.inference_mode():
        expected_TV = engine._model(torch.tensor([ids]))[0].log_softmax(-1)
    values = told.token_logprobs[: len(inner)]
    if prompt == "ids":  # nothing stands before the first
        assert values[0] is told.top_logprobs[0] is None
        values = values[1:]
    wanted = [float(expected_TV[at, token]) for at, token in enumerate(ids[1:])]
    assert values == pytest.approx(wanted, abs=1e-4)
    assert all(len(top) == 2 for top in told.top_logprobs[1:])
    assert max(told.top_logprobs[1].values()) == pytest.approx(
        float(expected_TV[len(ids) - len(inner)].max()), abs=1e-4
    )
    places = [Places(tokenizer)]
    assert told.text_offset[: len(inner)] == [places[0].next(token) for token in inner]
    assert len(told.tokens) == len(inner) + most
    assert choice.text.startswith(text)
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (len(ids), most)
    streamed = list(go_on(client, given, echo=True, logprobs=2, max_tokens=most, temperature=0, stream=True))
    parts: list[Any] = [c.choices[0].logprobs for c in streamed if c.choices[0].logprobs]
    assert [value for part in parts for value in part.token_logprobs] == told.token_logprobs
    assert [place for part in parts for place in part.text_offset] == told.text_offset
    assert "".join(c.choices[0].text for c in streamed) == choice.text


def test_a_shape_that_is_too_wide_to_be_followed_is_the_clients_to_mend(client: openai.OpenAI) -> None:
    wide = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(600)}}
    shape = {"type": "json_schema", "json_schema": {"name": "wide", "schema": wide}}
    with pytest.raises(openai.BadRequestError, match="too much for it: the grammar cannot be followed") as refused:
        go_on(client, extra_body={"response_format": shape})
    assert len(refused.value.message) < 300
    with pytest.raises(openai.APIError, match="too much for it"):
        list(client.completions.create(model="tiny", prompt="A", stream=True, extra_body={"response_format": shape}))


def test_the_best_of_several_are_the_likeliest(client: openai.OpenAI) -> None:
    options: Any = {"seed": 4, "temperature": 1.5, "logprobs": 0}
    all_of_them = go_on(client, ["A boy", "The llama"], n=5, **options)
    best = go_on(client, ["A boy", "The llama"], n=2, best_of=5, **options)

    def likelihood(choice: Any) -> float:
        return sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)

    for first in (0, 1):
        ranked = sorted(all_of_them.choices[first * 5 : first * 5 + 5], key=likelihood, reverse=True)
        assert [c.text for c in best.choices[first * 2 : first * 2 + 2]] == [c.text for c in ranked[:2]]
    assert [c.index for c in best.choices] == [0, 1, 2, 3]
    assert best.usage is not None
    assert all_of_them.usage is not None
    assert best.usage.completion_tokens == all_of_them.usage.completion_tokens
    untold = go_on(client, n=1, best_of=3).choices[0]
    assert untold.logprobs is None


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"best_of": 2, "n": 3}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"n": 100, "prompt": ["a", "b"]}, "n"),
        ({"suffix": "end"}, "suffix"),
        ({"logprobs": 21}, "logprobs"),
        ({"logit_bias": {"100000": 1}}, "logit_bias"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(url: str, change: dict[str, Any], param: str) -> None:
    reply = httpx2.post(f"{url}/v1/completions", json={"prompt": "x"} | change)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    "change",
    [
        {"logprobs": 3, "echo": False},
        {"n": 3, "echo": True},
        {"n": 2, "echo": True, "logprobs": 2},
        {"echo": True, "logprobs": 0, "max_tokens": 0},
        {"prompt": ["é", "Hello"], "logprobs": 0, "stop": "e"},
        {"guided_regex": "[ab]{2}"},
    ],
)
def test_every_answer_and_event_is_what_the_official_types_say(url: str, change: dict[str, Any]) -> None:
    body = {"prompt": "x", "max_tokens": 9, "seed": 1} | change
    whole = strictly(Completion, httpx2.post(f"{url}/v1/completions", json=body).json())
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *events, done, _ = httpx2.post(f"{url}/v1/completions", json=body | options).text.split("\n\n")
    assert done == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    texts = [""] * len(whole.choices)
    for chunk in chunks:
        for choice in chunk["choices"]:
            # The client's class of a part of a stream is that of a whole, which always says why it ended.
            strictly(Completion, chunk | {"choices": [choice | {"finish_reason": choice["finish_reason"] or "stop"}]})
            texts[choice["index"]] += choice["text"]
    assert texts == [choice.text for choice in whole.choices]
    assert chunks[-1]["usage"] == whole.model_dump(exclude_unset=True)["usage"]
