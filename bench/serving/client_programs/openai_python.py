"""The official client of OpenAI, in Python."""

from __future__ import annotations

import json

import openai
from checks import CITIES, CITY, LONG, URL, model, refused, run, stopped
from pydantic import BaseModel

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
asked = {"model": model(), "messages": [{"role": "user", "content": "Where are llamas?"}], "max_tokens": 40, "seed": 1}
tool = {"type": "function", "function": {"name": "weather", "parameters": CITY, "strict": True}}


class Place(BaseModel):
    city: str
    llamas: int


def chat() -> None:
    made = client.chat.completions.create(**asked)
    assert made.choices[0].message.content and made.usage.completion_tokens > 0
    assert client.responses.create(model=asked["model"], input="Hello", max_output_tokens=9).output_text
    assert client.completions.create(model=asked["model"], prompt="A llama", max_tokens=9).choices[0].text


def stream() -> None:
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert chunks[-1].usage.completion_tokens > 0
    with client.responses.stream(model=asked["model"], input="Hello", max_output_tokens=9) as events:
        # An answer that is cut is incomplete, which the client's get_final_response takes for none.
        assert [event for event in events if event.type == "response.output_text.delta"]


def tools() -> None:
    with client.chat.completions.stream(**asked, tools=[tool], tool_choice="required") as events:
        pieces = [event for event in events if event.type == "tool_calls.function.arguments.delta"]
        call = events.get_final_completion().choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments)["city"] in CITIES
    assert len(pieces) > 1
    messages = [*asked["messages"], {"role": "assistant", "tool_calls": [call.model_dump()]}]
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "12 degrees"})
    assert client.chat.completions.create(**{**asked, "messages": messages}, tools=[tool]).choices


def structure() -> None:
    made = client.chat.completions.parse(**asked, response_format=Place)
    assert isinstance(made.choices[0].message.parsed, Place)


def error() -> None:
    refused(lambda: client.chat.completions.create(**asked, temperature=9), openai.BadRequestError, "temperature")
    refused(lambda: client.chat.completions.create(**{**asked, "model": "no"}), openai.NotFoundError, "no")
    refused(lambda: client.moderations.create(input="x", model="no"), openai.NotFoundError, "ayllu-judge")


def cancel() -> None:
    parts = client.chat.completions.create(**{**asked, "max_tokens": 4000}, stream=True)
    next(parts), next(parts)
    parts.close()
    stopped()
    late = client.with_options(timeout=1)
    long = {**asked, "messages": [{"role": "user", "content": LONG}], "max_tokens": 4000}
    refused(lambda: late.chat.completions.create(**long), openai.APITimeoutError)
    stopped()


run({"chat": chat, "stream": stream, "tools": tools, "structure": structure, "error": error, "cancel": cancel})
