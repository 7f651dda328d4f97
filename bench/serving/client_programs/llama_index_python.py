"""LlamaIndex, by its model for servers that are like OpenAI's."""

from __future__ import annotations

import openai
from checks import URL, model, refused, run, stopped
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

given = {"model": model(), "api_base": f"{URL}/v1", "api_key": "none", "is_chat_model": True, "max_retries": 0}
llm = OpenAILike(**given, is_function_calling_model=True, max_tokens=60, context_window=8192)
asked = [ChatMessage(role="user", content="Where are llamas?")]


class Place(BaseModel):
    """A place."""

    city: str
    llamas: int


def weather(city: str) -> str:
    """The weather of a city."""
    return f"12 degrees in {city}"


def chat() -> None:
    assert llm.chat(asked).message.content
    plain = OpenAILike(**{**given, "is_chat_model": False}, max_tokens=9)
    assert plain.complete("A llama").text


def stream() -> None:
    assert "".join(part.delta or "" for part in llm.stream_chat(asked))


def tools() -> None:
    made = llm.chat_with_tools([FunctionTool.from_defaults(weather)], user_msg="Weather?", tool_required=True)
    assert llm.get_tool_calls_from_response(made)[0].tool_name == "weather"


def structure() -> None:
    assert isinstance(llm.as_structured_llm(Place).complete("Puno, 3 llamas").raw, Place)


def error() -> None:
    refused(lambda: OpenAILike(**given, temperature=1.0).chat(asked, top_p=9), openai.BadRequestError, "top_p")
    refused(lambda: OpenAILike(**{**given, "model": "no"}).chat(asked), openai.NotFoundError, "no")


def cancel() -> None:
    parts = OpenAILike(**given, max_tokens=4000).stream_chat(asked)
    next(parts), next(parts)
    parts.close()
    stopped()


run({"chat": chat, "stream": stream, "tools": tools, "structure": structure, "error": error, "cancel": cancel})
