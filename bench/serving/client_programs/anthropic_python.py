"""The official client of Anthropic, in Python."""

from __future__ import annotations

import anthropic
from checks import CITIES, CITY, URL, NotOffered, model, refused, run, stopped

client = anthropic.Anthropic(base_url=URL, api_key="none", max_retries=0)
asked = {"model": model(), "messages": [{"role": "user", "content": "Where are llamas?"}], "max_tokens": 40}
tool = {"name": "weather", "description": "of a city", "input_schema": CITY}


def chat() -> None:
    made = client.messages.create(**asked, system="Be brief.")
    assert made.content[0].text and made.usage.output_tokens > 0
    assert client.messages.count_tokens(model=asked["model"], messages=asked["messages"]).input_tokens > 0


def stream() -> None:
    with client.messages.stream(**asked) as events:
        text = "".join(events.text_stream)
        assert text and events.get_final_message().content[0].text == text


def tools() -> None:
    with client.messages.stream(**asked, tools=[tool], tool_choice={"type": "any"}) as events:
        pieces = [event for event in events if event.type == "input_json"]
        call = events.get_final_message().content[0]
    assert call.type == "tool_use" and call.input["city"] in CITIES
    assert len(pieces) > 1
    answer = {"type": "tool_result", "tool_use_id": call.id, "content": "12 degrees"}
    said = [{"role": "assistant", "content": [call.model_dump()]}, {"role": "user", "content": [answer]}]
    assert client.messages.create(**{**asked, "messages": [*asked["messages"], *said]}, tools=[tool]).stop_reason


def structure() -> None:
    raise NotOffered  # by the API for long: a tool that must be called


def error() -> None:
    hot = {"temperature": 9}  # which the client's own types have no more
    refused(lambda: client.messages.create(**asked, extra_body=hot), anthropic.BadRequestError, "temperature")
    refused(lambda: client.messages.create(**{**asked, "model": "no"}), anthropic.NotFoundError, "no")


def cancel() -> None:
    with client.messages.stream(**{**asked, "max_tokens": 4000}) as events:
        next(iter(events.text_stream))
    stopped()


run({"chat": chat, "stream": stream, "tools": tools, "structure": structure, "error": error, "cancel": cancel})
