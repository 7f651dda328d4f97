"""Pydantic AI: agents over OpenAI's chat completions."""

from __future__ import annotations

import asyncio

from checks import URL, model, refused, run, stopped
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

name = model()
provider = OpenAIProvider(base_url=f"{URL}/v1", api_key="none")
served = OpenAIChatModel(name, provider=provider)
short = {"max_tokens": 60, "seed": 1}


class Place(BaseModel):
    """A place."""

    city: str
    llamas: int


def chat() -> None:
    assert Agent(served).run_sync("Where are llamas?", model_settings=short).output


def stream() -> None:
    async def read() -> str:
        async with Agent(served).run_stream("Where are llamas?", model_settings=short) as result:
            return "".join([part async for part in result.stream_text(delta=True)])

    assert asyncio.run(read())


def tools() -> None:
    made = Agent(served, output_type=ToolOutput(Place)).run_sync("Puno, 3 llamas", model_settings=short)
    assert isinstance(made.output, Place)


def structure() -> None:
    made = Agent(served, output_type=NativeOutput(Place)).run_sync("Puno, 3 llamas", model_settings=short)
    assert isinstance(made.output, Place)


def error() -> None:
    refused(lambda: Agent(served).run_sync("x", model_settings={"temperature": 9}), ModelHTTPError, "temperature")
    strange = OpenAIChatModel("no", provider=provider)
    refused(lambda: Agent(strange).run_sync("x"), ModelHTTPError, "404", "no")


def cancel() -> None:
    async def leave() -> None:
        async with Agent(served).run_stream("A long story.", model_settings={"max_tokens": 4000}) as result:
            async for _ in result.stream_text(delta=True, debounce_by=None):
                break

    asyncio.run(leave())
    stopped()


run({"chat": chat, "stream": stream, "tools": tools, "structure": structure, "error": error, "cancel": cancel})
