"""How the server reads the bodies of its routes, up to where an engine would be asked."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from pydantic import BaseModel
from walk import Body

from ayllu.serve.audio import routes as audio
from ayllu.serve.completions.body import ChatBody, TextBody
from ayllu.serve.errors import ApiError
from ayllu.serve.files import routes as files
from ayllu.serve.files.form import Form
from ayllu.serve.messages.body import CountBody as MessageCountBody
from ayllu.serve.responses import body as responses
from ayllu.serve.responses.hosted.mcp import McpOffer
from ayllu.serve.responses.items import kept_item, messages_of
from ayllu.serve.turn.grammar import shape_grammar
from ayllu.text.tool_calls import Tool

CALL = {"id": "x", "type": "function", "function": {"name": "x", "arguments": "{}"}}
CHAT_TOOL = {"type": "function", "function": {"name": "x"}}
FIRST = [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [CALL]}]
SPEECH = cast(Any, SimpleNamespace(languages=("en",), voice="x", rate=16_000))
"""Ears and a voice, as `ayllu serve --speech` has them: what is asked of them is only checked here."""

OFFER = McpOffer(tools=[Tool(name="x", description="")], names={("x", "x"): "x"})
"""What an MCP server offers, which the operator has allowed."""


def read_chat(body: Body) -> Any:
    read = ChatBody.model_validate(body)
    read.logprob_count()
    shape_grammar(read.turn().shape)
    return read


def whole_chat(base: Body, change: Body) -> Body:
    """Messages come behind those that are there."""
    body = base | change
    if "messages" in change:
        body["messages"] = [*FIRST, *change["messages"]]
    if "functions" in change or "function_call" in change:
        body["functions"] = change.get("functions", [{"name": "x"}])
        del body["tools"]
    return body


def read_text(body: Body) -> Any:
    read = TextBody.model_validate(body)
    read.counts()
    return read


def read_response(model: type[responses.InputBody]) -> Callable[[Body], Any]:
    """What a response is made of; of items what is kept of them, and what the model reads."""

    def read(body: Body) -> Any:
        found = model.model_validate(body)
        shape_grammar(found.shape())
        items = [kept_item(item) for item in found.input or ()]
        said = messages_of([item for item in items if item["type"] != "item_reference"], found.instructions)
        kept = [{key: value for key, value in item.items() if key != "id"} for item in items]
        ids = [getattr(item, "id", None) for item in found.input or ()]
        try:
            choice = found.choice(OFFER)
        except ValueError as error:  # as the responder does
            raise ApiError(400, str(error)) from None
        return [found.model_copy(update={"input": None}), found.offered(OFFER), choice, said, kept, ids]

    return read


def read_items(model: type[Any]) -> Callable[[Body], Any]:
    """What is kept of a conversation's items."""

    def read(body: Body) -> Any:
        found = model.model_validate(body)
        items = [kept_item(item) for item in getattr(found, "items", None) or ()]
        ids = [getattr(item, "id", None) for item in getattr(found, "items", None) or ()]
        return [getattr(found, "metadata", None), [{**item, "id": None} for item in items], ids]

    return read


def read_messages(model: type[MessageCountBody]) -> Callable[[Body], Any]:
    def read(body: Body) -> Any:
        found = model.model_validate(body)
        turn = found.turn()
        shape_grammar(turn.shape)
        return [found, turn]

    return read


def form(body: Body) -> Form:
    """A body as the official client puts it into a form."""
    found = Form()

    def put(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                put(f"{name}[{key}]", part)
        elif isinstance(value, list):
            for part in value:
                put(f"{name}[]", part)
        else:
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            found.fields.setdefault(name, []).append(shown)

    for name, value in body.items():
        if name != "file":
            put(name, value)
    found.filename, found.file_bytes = body.get("file"), 1
    return found


def read_sound(body: Body) -> Any:
    given = form(body)
    audio._check(given)
    audio._check_heard(given, SPEECH)
    return [given.fields, given.filename]


def read_speech(body: Body) -> Any:
    found = audio.SpeechBody.model_validate(body)
    audio._check_spoken(found, SPEECH)
    return found


def read_file(body: Body) -> Any:
    given = form(body)
    return [given.filename, files._purpose(given), files._expiry(given)]


def read_model(model: type[BaseModel]) -> Callable[[Body], Any]:
    return model.model_validate
