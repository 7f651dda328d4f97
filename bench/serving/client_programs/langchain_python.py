"""LangChain: its models for OpenAI's API and for Anthropic's."""

from __future__ import annotations

import openai
from checks import CITIES, URL, model, refused, run, stopped
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel, Field

name = model()
given = {"model": name, "base_url": f"{URL}/v1", "api_key": "none", "max_retries": 0}
chatting = ChatOpenAI(**given, max_tokens=60, seed=1)
other = ChatAnthropic(model=name, base_url=URL, api_key="none", max_retries=0, max_tokens=40)


class Place(BaseModel):
    """A place."""

    city: str = Field(description="its name")
    llamas: int


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"12 degrees in {city}"


def chat() -> None:
    made = chatting.invoke([HumanMessage("Where are llamas?")])
    assert made.content and made.usage_metadata["output_tokens"] > 0
    assert other.invoke("Where are llamas?").content
    assert OpenAI(**given, max_tokens=9).invoke("A llama")
    by_responses = ChatOpenAI(**given, max_tokens=20, use_responses_api=True)
    assert by_responses.invoke("Where are llamas?").text


def stream() -> None:
    assert "".join(chunk.text for chunk in chatting.stream("Where are llamas?"))
    assert "".join(chunk.text for chunk in other.stream("Where are llamas?"))


def tools() -> None:
    bound = chatting.bind_tools([weather], tool_choice="required", parallel_tool_calls=False)
    asked = [HumanMessage("How is the weather in Puno or Cusco?")]
    made = bound.invoke(asked)
    assert made.tool_calls[0]["name"] == "weather", made
    pieces = [piece for chunk in bound.stream(asked) for piece in chunk.tool_call_chunks]
    assert len(pieces) > 2
    results = ToolMessage(weather.invoke(made.tool_calls[0]["args"]), tool_call_id=made.tool_calls[0]["id"])
    assert chatting.bind_tools([weather]).invoke([*asked, made, results])


def structure() -> None:
    for method in ("json_schema", "function_calling"):
        assert isinstance(chatting.with_structured_output(Place, method=method).invoke("Puno, 3 llamas"), Place)
    assert CITIES


def error() -> None:
    hot = ChatOpenAI(**given, temperature=9)
    refused(lambda: hot.invoke("x"), openai.BadRequestError, "temperature")
    strange = ChatOpenAI(**{**given, "model": "no"})
    refused(lambda: strange.invoke("x"), openai.NotFoundError, "no")


def cancel() -> None:
    parts = ChatOpenAI(**given, max_tokens=4000).stream("Tell a long story.")
    next(parts), next(parts)
    parts.close()
    stopped()


run({"chat": chat, "stream": stream, "tools": tools, "structure": structure, "error": error, "cancel": cancel})
