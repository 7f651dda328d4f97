"""Instructor: answers as pydantic models, by tools and by a schema."""

from __future__ import annotations

import instructor
import openai
from checks import URL, NotOffered, model, refused, run, stopped
from pydantic import BaseModel, Field

plain = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
asked = {"model": model(), "messages": [{"role": "user", "content": "Puno, 3 llamas"}], "max_tokens": 400}


class Place(BaseModel):
    city: str = Field(max_length=20)
    llamas: int


class Story(BaseModel):
    text: str


def made_by(mode: instructor.Mode) -> None:
    made = instructor.from_openai(plain, mode=mode).create(**asked, response_model=Place, max_retries=0)
    assert isinstance(made, Place)


def chat() -> None:
    raise NotOffered


def stream() -> None:
    parts = list(
        instructor.from_openai(plain, mode=instructor.Mode.TOOLS).create_partial(**asked, response_model=Place)
    )
    assert len(parts) > 1 and parts[-1].city is not None


def tools() -> None:
    made_by(instructor.Mode.TOOLS)


def structure() -> None:
    made_by(instructor.Mode.JSON_SCHEMA)


def error() -> None:
    client = instructor.from_openai(plain)
    hot = {**asked, "temperature": 9, "response_model": Place, "max_retries": 0}
    refused(lambda: client.create(**hot), Exception, "temperature")


def cancel() -> None:
    client = instructor.from_openai(plain, mode=instructor.Mode.TOOLS)
    for _ in client.create_partial(**{**asked, "max_tokens": 4000}, response_model=Story):
        break
    stopped()


run({"chat": chat, "stream": stream, "tools": tools, "structure": structure, "error": error, "cancel": cancel})
