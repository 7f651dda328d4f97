"""LiteLLM, by OpenAI's API."""

from __future__ import annotations

import json

import litellm
from checks import CITIES, CITY, URL, model, refused, run, stopped
from pydantic import BaseModel

litellm.suppress_debug_info = True
asked = {"model": f"openai/{model()}", "api_base": f"{URL}/v1", "api_key": "none", "num_retries": 0, "max_tokens": 60}
asked["messages"] = [{"role": "user", "content": "Where are llamas?"}]
tool = {"type": "function", "function": {"name": "weather", "parameters": CITY, "strict": True}}


class Place(BaseModel):
    city: str
    llamas: int


def chat() -> None:
    made = litellm.completion(**asked)
    assert made.choices[0].message.content and made.usage.completion_tokens > 0


def stream() -> None:
    assert "".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(**asked, stream=True))


def tools() -> None:
    chunks = list(litellm.completion(**asked, tools=[tool], tool_choice="required", stream=True))
    call = litellm.stream_chunk_builder(chunks).choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments)["city"] in CITIES
    assert sum(bool(chunk.choices[0].delta.tool_calls) for chunk in chunks) > 2


def structure() -> None:
    made = litellm.completion(**asked, response_format=Place)
    Place.model_validate_json(made.choices[0].message.content)


def error() -> None:
    refused(lambda: litellm.completion(**asked, temperature=9), litellm.BadRequestError, "temperature")
    long = {**asked, "messages": [{"role": "user", "content": "llama " * 9000}]}
    refused(lambda: litellm.completion(**long), litellm.ContextWindowExceededError, "tokens")
    refused(lambda: litellm.completion(**{**asked, "model": "openai/no"}), litellm.NotFoundError, "no")


def cancel() -> None:
    parts = litellm.completion(**{**asked, "max_tokens": 4000}, stream=True)
    next(parts), next(parts)
    parts.completion_stream.close()
    stopped()


run({"chat": chat, "stream": stream, "tools": tools, "structure": structure, "error": error, "cancel": cancel})
