"""The conversation of a session: its items in order, and what of them the model is told.

Of what the assistant said the model is told what was heard: a client that stops the sound says where.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from ayllu.device.see.scene import Scene
from ayllu.serve.errors import ApiError
from ayllu.text.chat import Message
from ayllu.text.tool_calls import ToolCall

MOST_ITEMS = 10_000
ROLES = {"user": ("input_text", "input_audio", "input_image"), "system": ("input_text",), "assistant": ("output_text",)}
"""What a client may put into a message of each role; speech of the assistant is made here only."""


def new_id(kind: str) -> str:
    """A name such as item_3f…"""
    return f"{kind}_{secrets.token_hex(12)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedWord:
    """A word of the assistant's and when it ends, in milliseconds from the beginning of the item's sound."""

    text: str
    end: float


@dataclass
class Item:
    """One item; `said` is its JSON object."""

    said: dict[str, Any]
    words: list[TimedWord] = field(default_factory=list)
    milliseconds: float = 0.0
    """Of sound, so far."""
    heard: int | None = None
    """Where the sound was stopped."""
    scenes: list[Scene] = field(default_factory=list)
    """What was seen in its pictures."""

    @property
    def id(self) -> str:
        """Its name."""
        return str(self.said["id"])

    def spoken(self) -> str:
        """The words that were heard: those that ended before the sound was stopped."""
        if self.heard is None:
            return " ".join(word.text for word in self.words)
        return " ".join(word.text for word in self.words if word.end <= self.heard)


class Conversation:
    """Items by name and in order."""

    def __init__(self) -> None:
        self.id = new_id("conv")
        self._items: list[Item] = []

    def add(self, item: Item, previous: str | None = None) -> str | None:
        """Put an item at the end, or behind `previous` (`root`: first); gives the name of the one before it."""
        if len(self._items) >= MOST_ITEMS:
            raise ApiError(400, f"the conversation has {MOST_ITEMS} items; delete some", code="conversation_full")
        if any(one.id == item.id for one in self._items):
            raise ApiError(400, f"there is an item {item.id[:64]!r} already", param="item.id", code="item_exists")
        if previous is None:
            at = len(self._items)
        elif previous == "root":
            at = 0
        else:
            at = self._items.index(self.find(previous, param="previous_item_id")) + 1
        self._items.insert(at, item)
        return self._items[at - 1].id if at else None

    def find(self, name: Any, *, param: str = "item_id") -> Item:
        """An item; ApiError where there is none."""
        for item in self._items:
            if item.id == name:
                return item
        raise ApiError(
            404, f"there is no item {str(name)[:64]!r} in the conversation", param=param, code="item_not_found"
        )

    def last(self) -> str | None:
        """The name of the last item."""
        return self._items[-1].id if self._items else None

    def remove(self, name: Any) -> None:
        """Forget an item."""
        self._items.remove(self.find(name))

    def truncate(self, name: Any, index: Any, end: Any) -> Item:
        """Keep of an answer what was heard until `end` milliseconds."""
        item = self.find(name)
        if item.said.get("role") != "assistant" or not item.milliseconds:
            raise ApiError(400, "only what the assistant has spoken can be truncated", param="item_id")
        if index != 0:
            raise ApiError(400, "the sound of an item is its content 0", param="content_index", code="invalid_value")
        if not isinstance(end, int) or isinstance(end, bool) or end < 0:
            raise ApiError(
                400, "audio_end_ms must be a whole number from 0", param="audio_end_ms", code="invalid_value"
            )
        if end > item.milliseconds + 1:
            raise ApiError(
                400,
                f"the item has {item.milliseconds:.0f} ms of sound, so it cannot be cut at {end} ms",
                param="audio_end_ms",
                code="invalid_value",
            )
        item.heard = end if item.heard is None else min(end, item.heard)
        for part in item.said["content"]:
            part["transcript"] = item.spoken()
        return item

    def question(self) -> tuple[str, Scene | None, bool]:
        """What the user has said since the last answer, the newest picture, and whether it came with that."""
        turn: list[Item] = []
        for item in reversed(self._items):
            if item.said["type"] == "message" and item.said["role"] == "assistant":
                break
            if item.said.get("role") == "user":
                turn.insert(0, item)
        words = " ".join(text for item in turn if (text := _words(item)))
        fresh, older = ([scene for item in items for scene in item.scenes] for items in (turn, self._items))
        seen = fresh or older
        return words, seen[-1] if seen else None, bool(fresh)

    def messages(self, instructions: str) -> list[Message]:
        """What the model is told."""
        told = [Message(role="system", content=instructions)] if instructions else []
        return told + messages_of(self._items)


def messages_of(items: list[Item]) -> list[Message]:
    """Items as turns; the calls of one turn stand together."""
    told: list[Message] = []
    for item in items:
        said = item.said
        if said["type"] == "message":
            if text := _text(item):
                told.append(Message(role=said["role"], content=text))
        elif said["type"] == "function_call":
            call = ToolCall(name=said["name"], arguments=json.loads(said["arguments"]), id=said["call_id"])
            if told and told[-1].role == "assistant":
                before = told.pop()
                told.append(Message(role="assistant", content=before.content, tool_calls=(*before.tool_calls, call)))
            else:
                told.append(Message(role="assistant", tool_calls=(call,)))
        else:
            told.append(Message(role="tool", content=said["output"], tool_call_id=said["call_id"]))
    return told


def context_of(conversation: Conversation, given: list[dict[str, Any]] | None, instructions: str) -> list[Message]:
    """What the model is told: the conversation, or the items that a client gives for one response."""
    if given is None:
        return conversation.messages(instructions)
    items = []
    for one in given:
        reference = one.get("type") == "item_reference"
        items.append(conversation.find(one.get("id")) if reference else checked_item(one))
        if any(part["type"] == "input_image" for part in items[-1].said.get("content", [])) and not reference:
            raise ApiError(400, "a picture is given by conversation.item.create", param="response.input")
    return ([Message(role="system", content=instructions)] if instructions else []) + messages_of(items)


def _text(item: Item) -> str:
    if item.words:
        return item.spoken()
    return "\n\n".join([*(scene.told() for scene in item.scenes), *([words] if (words := _words(item)) else [])])


def _words(item: Item) -> str:
    parts = item.said["content"]
    return " ".join(text for part in parts if (text := part.get("text") or part.get("transcript") or "").strip())


def checked_item(given: Any) -> Item:
    """An item that a client sends; ApiError for what is none, or is not understood here."""
    if not isinstance(given, dict):
        raise _invalid("item", "an item is an object")
    said = {key: value for key, value in given.items() if value is not None}
    said.setdefault("id", new_id("item"))
    if not (isinstance(said["id"], str) and 0 < len(said["id"]) <= 64):
        raise _invalid("item.id", "an item's id is a text of 1 to 64 characters")
    kind = said.get("type")
    check = {"message": _message, "function_call": _call, "function_call_output": _output}.get(str(kind))
    if check is None:
        raise _invalid("item.type", f"items of type {str(kind)[:40]!r} are not understood here")
    check(said)
    said.update(object="realtime.item", status=said.get("status", "completed"))
    return Item(said)


def _message(said: dict[str, Any]) -> None:
    _only(said, {"id", "type", "role", "content", "status", "object"})
    allowed = ROLES.get(str(said.get("role")))
    if allowed is None:
        raise _invalid("item.role", "a message's role is user, assistant or system")
    content = said.get("content")
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise _invalid("item.content", "a message's content is a list of parts")
    for place, part in enumerate(content):
        if part.get("type") not in allowed:
            raise _invalid(
                f"item.content[{place}].type",
                f"parts of type {str(part.get('type'))[:40]!r} are not understood in a message of the {said['role']}",
            )
        name = {"input_image": "image_url", "input_audio": ""}.get(part["type"], "text")
        if name and not isinstance(part.get(name), str):
            raise _invalid(f"item.content[{place}].{name}", f"the part has no {name}")


def _call(said: dict[str, Any]) -> None:
    _only(said, {"id", "type", "name", "arguments", "call_id", "status", "object"})
    said.setdefault("call_id", new_id("call"))
    try:
        if not isinstance(json.loads(said["arguments"]), dict):
            raise ValueError
        ToolCall(name=str(said.get("name")), arguments={})
    except (KeyError, TypeError, ValueError, RecursionError):
        raise _invalid("item.arguments", "a call has a name, and arguments that are a JSON object") from None


def _output(said: dict[str, Any]) -> None:
    _only(said, {"id", "type", "output", "call_id", "status", "object"})
    if not (isinstance(said.get("output"), str) and isinstance(said.get("call_id"), str)):
        raise _invalid("item.output", "a call's output is a text, with the call_id that it answers")


def _only(said: dict[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(said) - known):
        raise ApiError(
            400, f"item.{unknown[0][:40]} is not known here", param=f"item.{unknown[0][:40]}", code="unknown_parameter"
        )


def _invalid(param: str, message: str) -> ApiError:
    return ApiError(400, message, param=param, code="invalid_value")
