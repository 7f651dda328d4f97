"""Chat completions as the official client sees them: tools, shapes of answers, log-probabilities, several choices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import httpx2
import openai
import pytest
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.text.chat import Message, render
from ayllu.text.tool_calls import Tool, ToolCall
from support.serving.strict import strictly

HELLO: Any = [{"role": "user", "content": "Hello"}]
SHORT: Any = {"type": "string", "maxLength": 3, "pattern": "^[a-z]+$"}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": SHORT, "day": {"enum": ["today", "tomorrow"]}},
            "required": ["city", "day"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
CLOCK: Any = {"type": "function", "function": {"name": "clock"}}
CALL: Any = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "a"}'}}


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, **options: Any) -> ChatCompletion:
    return client.chat.completions.create(
        **{"model": "tiny", "messages": HELLO, "max_tokens": 60, "seed": 3, "parallel_tool_calls": False, **options}
    )


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "weather"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]},
        },
    ],
)
def test_a_call_that_is_asked_for_comes_and_matches_its_schema(client: openai.OpenAI, choice: Any) -> None:
    tools = [WEATHER] if choice == "required" else [CLOCK, WEATHER]
    made = ask(client, tools=tools, tool_choice=choice).choices[0]
    assert made.finish_reason == "tool_calls"
    assert made.message.content is None
    assert made.message.tool_calls is not None
    (call,) = made.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "weather"
    arguments = json.loads(call.function.arguments)
    assert arguments["city"].isalpha()
    assert arguments["day"] in ("today", "tomorrow")


def test_a_call_streamed_and_whole_is_the_same(client: openai.OpenAI) -> None:
    options: Any = {"tools": [WEATHER], "tool_choice": "required"}
    whole = ask(client, **options)
    chunks = list(
        client.chat.completions.create(
            model="tiny",
            messages=HELLO,
            max_tokens=60,
            seed=3,
            parallel_tool_calls=False,
            stream=True,
            stream_options={"include_usage": True, "include_obfuscation": False},
            **options,
        )
    )
    deltas = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or ()]
    assert whole.choices[0].message.tool_calls is not None
    (call,) = whole.choices[0].message.tool_calls
    assert call.type == "function"
    assert deltas[0].function is not None
    assert (deltas[0].index, deltas[0].type, deltas[0].function.name) == (0, "function", "weather")
    assert deltas[0].id
    assert [delta.id for delta in deltas[1:]] == [None] * (len(deltas) - 1)
    assert "".join(delta.function.arguments or "" for delta in deltas if delta.function) == call.function.arguments
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:-1]] == ["tool_calls"]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:-1])
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


class Weather(BaseModel):
    city: Literal["Puno", "Cusco"]
    warm: bool


def test_the_clients_helpers_parse_what_comes(client: openai.OpenAI) -> None:
    parsed = (
        client.chat.completions.parse(model="tiny", messages=HELLO, response_format=Weather, max_tokens=60, seed=1)
        .choices[0]
        .message.parsed
    )
    assert isinstance(parsed, Weather)
    tool = openai.pydantic_function_tool(Weather)
    called = (
        client.chat.completions.parse(
            model="tiny", messages=HELLO, tools=[tool], tool_choice="required", parallel_tool_calls=False, max_tokens=80
        )
        .choices[0]
        .message.tool_calls
    )
    assert called
    assert isinstance(called[0].function.parsed_arguments, Weather)
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="tiny", messages=HELLO, response_format=Weather, max_tokens=2)


def test_the_clients_stream_tells_of_content_and_of_calls(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="tiny", messages=HELLO, response_format=Weather, max_tokens=60, seed=1, logprobs=True
    ) as stream:
        kinds = [event.type for event in stream]
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Weather)
    assert {"chunk", "content.delta", "content.done", "logprobs.content.delta", "logprobs.content.done"} <= set(kinds)
    tool = openai.pydantic_function_tool(Weather)
    with client.chat.completions.stream(
        model="tiny", messages=HELLO, tools=[tool], tool_choice="required", parallel_tool_calls=False, max_tokens=80
    ) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
    assert isinstance(done[0].parsed_arguments, Weather)


def test_answers_have_the_shape_that_is_asked_for(client: openai.OpenAI) -> None:
    def said(**options: Any) -> str:
        return ask(client, **options).choices[0].message.content or ""

    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    format_ = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    assert json.loads(said(response_format=format_))["a"] in (1, 2)
    assert json.loads(said(extra_body={"guided_json": json.dumps(schema)}))["a"] in (1, 2)
    assert json.loads(said(extra_body={"structured_outputs": {"json": schema}}))["a"] in (1, 2)
    assert said(extra_body={"guided_choice": ["yes", "no"]}) in ("yes", "no")
    assert said(extra_body={"structured_outputs": {"regex": "[ab]{3}"}}).strip("ab") == ""
    assert set(said(extra_body={"guided_grammar": 'start: "u" /v{2,4}/'})) == {"u", "v"}
    assert said(response_format={"type": "json_object"}, max_tokens=2).startswith("{")
    assert json.loads(said(response_format=format_, tools=[WEATHER], tool_choice="none"))["a"] in (1, 2)


def test_calls_and_results_are_read_in_the_order_of_the_calls(client: openai.OpenAI, engine: TorchEngine) -> None:
    calls = [CALL, CALL | {"id": "c2", "function": {"name": "clock", "arguments": ""}}]
    messages = [
        *HELLO,
        {"role": "assistant", "content": "I look.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c2", "content": "noon"},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "rain"}]},
    ]
    made = ask(client, messages=messages, tools=[WEATHER, CLOCK], max_tokens=1)
    function = {key: value for key, value in WEATHER["function"].items() if key != "strict"}
    tools = [
        Tool(name="weather", description="", whole={"type": "function", "function": function}),
        Tool(name="clock", description="", whole=CLOCK),
    ]
    told = [
        Message(role="user", content="Hello"),
        Message(role="assistant", content="I look."),
        Message(
            role="assistant",
            tool_calls=(ToolCall(name="weather", arguments={"city": "a"}), ToolCall(name="clock", arguments={})),
        ),
        Message(role="tool", content="rain"),
        Message(role="tool", content="noon"),
    ]
    assert made.usage is not None
    assert made.usage.prompt_tokens == len(render(told, engine.tokenizer, tools=tools))
    without = ask(client, messages=messages, tools=[WEATHER, CLOCK], tool_choice="none", max_tokens=1)
    assert without.usage is not None
    assert without.usage.prompt_tokens == len(render(told, engine.tokenizer))


def test_the_older_functions_are_called_in_the_older_way(client: openai.OpenAI) -> None:
    options: Any = {"functions": [WEATHER["function"]], "function_call": {"name": "weather"}, "max_tokens": 60}
    made = client.chat.completions.create(model="tiny", messages=HELLO, seed=3, **options).choices[0]
    assert made.finish_reason == "function_call"
    assert made.message.function_call is not None
    assert made.message.tool_calls is None
    streamed = list(client.chat.completions.create(model="tiny", messages=HELLO, seed=3, stream=True, **options))
    parts = [chunk.choices[0].delta.function_call for chunk in streamed]
    assert "".join(part.arguments or "" for part in parts if part) == made.message.function_call.arguments
    history = [
        *HELLO,
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
        {"role": "function", "name": "weather", "content": "rain"},
    ]
    assert ask(client, messages=history, max_tokens=1).usage is not None


def test_each_token_is_told_with_its_likelihood(client: openai.OpenAI, engine: TorchEngine) -> None:
    made = ask(client, logprobs=True, top_logprobs=3, temperature=0, max_tokens=8, logit_bias={"300": -100}).choices[0]
    assert made.logprobs is not None
    assert made.logprobs.content is not None
    assert made.message.content == bytes(b for t in made.logprobs.content for b in t.bytes or ()).decode(
        errors="replace"
    )
    for token in made.logprobs.content:
        assert len(token.top_logprobs) == 3
        assert token.logprob <= token.top_logprobs[0].logprob <= 0
    bare = ask(client, logprobs=True, max_tokens=2).choices[0].logprobs
    assert bare is not None
    assert bare.content is not None
    assert bare.content[0].top_logprobs == []
    assert ask(client, max_tokens=2).choices[0].logprobs is None


def test_the_choices_of_n_are_those_of_their_seeds_and_the_prompt_counts_once(client: openai.OpenAI) -> None:
    alone = [ask(client, seed=seed, max_tokens=12) for seed in (7, 8, 9)]
    together = ask(client, seed=7, n=3, max_tokens=12)
    assert [c.message.content for c in together.choices] == [one.choices[0].message.content for one in alone]
    assert [c.index for c in together.choices] == [0, 1, 2]
    assert together.usage is not None
    usages = [one.usage for one in alone]
    assert together.usage.prompt_tokens == usages[0].prompt_tokens  # type: ignore[union-attr]
    assert together.usage.completion_tokens == sum(usage.completion_tokens for usage in usages if usage)
    streamed = client.chat.completions.create(model="tiny", messages=HELLO, seed=7, n=3, max_tokens=12, stream=True)
    texts = ["", "", ""]
    ends: list[int] = []
    for chunk in streamed:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ends += [choice.index] if choice.finish_reason else []
    assert texts == [c.message.content for c in together.choices]
    assert sorted(ends) == [0, 1, 2]


def test_bias_and_penalties_reach_the_draw(client: openai.OpenAI, engine: TorchEngine) -> None:
    only = engine.tokenizer.encode("a")[0]
    assert ask(client, logit_bias={str(only): 100}, max_tokens=5).choices[0].message.content == "aaaaa"
    pushed = ask(client, logit_bias={str(only): 5}, frequency_penalty=2, temperature=0, max_tokens=20)
    plain = ask(client, logit_bias={str(only): 5}, temperature=0, max_tokens=20)
    assert (pushed.choices[0].message.content or "").count("a") < (plain.choices[0].message.content or "").count("a")
    greedy = ask(client, temperature=0, max_tokens=9).choices[0].message.content
    assert ask(client, temperature=2, max_tokens=9, extra_body={"min_p": 1}).choices[0].message.content == greedy


ASKED: list[dict[str, Any]] = [
    {},
    {"n": 2, "logprobs": True, "top_logprobs": 2},
    {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False},
    {"tools": [WEATHER, CLOCK], "n": 2, "logprobs": True},
    {"functions": [CLOCK["function"]], "function_call": {"name": "clock"}},
    {"response_format": {"type": "json_object"}},
    {"stop": ["e", "a"], "logprobs": True},
]


@pytest.mark.parametrize("change", ASKED)
def test_every_answer_and_event_is_what_the_official_types_say(url: str, change: dict[str, Any]) -> None:
    body = {"messages": HELLO, "max_tokens": 40, "seed": 1} | change
    whole = httpx2.post(f"{url}/v1/chat/completions", json=body).json()
    strictly(ChatCompletion, whole)
    strictly(CompletionUsage, whole["usage"])
    text = httpx2.post(
        f"{url}/v1/chat/completions", json=body | {"stream": True, "stream_options": {"include_usage": True}}
    ).text
    *events, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [strictly(ChatCompletionChunk, json.loads(event.removeprefix("data: "))) for event in events]
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    told = [token for c in whole["choices"] for token in (c["logprobs"] or {"content": []})["content"]]
    streamed = [
        token.model_dump()
        for index in range(len(whole["choices"]))
        for chunk in chunks
        for choice in chunk.choices
        if choice.index == index and choice.logprobs
        for token in choice.logprobs.content or ()
    ]
    assert streamed == told
