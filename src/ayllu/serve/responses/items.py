"""Items that clients give: read from their many forms, kept in one, and turned into messages."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, FiniteFloat, Tag, field_validator, model_validator

from ayllu.serve.errors import ApiError
from ayllu.serve.responses.hosted.mcp import (
    McpCallItem,
    McpListItem,
    McpRequestItem,
    McpResponseItem,
    approvals,
    refusal,
)
from ayllu.serve.responses.hosted.tools import called as called_by
from ayllu.serve.state.items import Item
from ayllu.serve.turn.results import results_in_order
from ayllu.text.chat import Message
from ayllu.text.tool_calls import ToolCall

ID_PATTERN = r"^[A-Za-z0-9_.-]{1,128}$"
ItemId = Annotated[str, Field(pattern=ID_PATTERN)]
PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "reasoning": "rs",
    "code_interpreter_call": "ci",
    "file_search_call": "fs",
    "mcp_list_tools": "mcpl",
    "mcp_call": "mcp",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcprr",
}


def new_id(prefix: str) -> str:
    """A name that nobody can guess."""
    return f"{prefix}_{uuid.uuid4().hex}"


class _Given(BaseModel):
    """What an item has beside the fields named here is what an answer of ours carried, and is ignored."""

    model_config = ConfigDict(extra="ignore", defer_build=True)


class Part(_Given):
    """A part of a message's content."""

    type: Literal["input_text", "output_text", "text", "refusal"]
    text: str | None = None
    refusal: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Part:
        if (self.refusal if self.type == "refusal" else self.text) is None:
            raise ValueError(f"a part of type {self.type} needs its text")
        return self

    def words(self) -> str:
        """What it says."""
        return (self.refusal if self.type == "refusal" else self.text) or ""


def _parts(value: Any) -> Any:
    return [{"type": "input_text", "text": value}] if isinstance(value, str) else value


class MessageItem(_Given):
    """What somebody said."""

    id: ItemId | None = None
    role: Literal["user", "assistant", "system", "developer"]
    content: list[Part]

    @field_validator("content", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return _parts(value)

    def kept(self) -> Item:
        """The item as the API gives it back."""
        content = [_kept_part(part, self.role) for part in self.content]
        return {"type": "message", "role": self.role, "status": "completed", "content": content}


class CallItem(_Given):
    """A call that the model made."""

    id: ItemId | None = None
    call_id: str = Field(min_length=1, max_length=256)
    name: str = Field(min_length=1, max_length=256)
    arguments: str

    @field_validator("arguments")
    @classmethod
    def _json(cls, value: str) -> str:
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ValueError("the arguments of a call are a JSON object, written as a text")
        return value

    def kept(self) -> Item:
        """The item as the API gives it back."""
        fields = {"call_id": self.call_id, "name": self.name, "arguments": self.arguments}
        return {"type": "function_call", "status": "completed", **fields}


class OutputItem(_Given):
    """What a call gave."""

    id: ItemId | None = None
    call_id: str = Field(min_length=1, max_length=256)
    output: list[Part]

    @field_validator("output", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return _parts(value)

    def kept(self) -> Item:
        """The item as the API gives it back."""
        text = "".join(part.words() for part in self.output)
        return {"type": "function_call_output", "status": "completed", "call_id": self.call_id, "output": text}


class ReasoningItem(_Given):
    """What another model thought: kept, and not shown to ours, which has no form for it."""

    id: ItemId | None = None
    summary: list[dict[str, Any]] = Field([], max_length=1000)

    def kept(self) -> Item:
        """The item as the API gives it back."""
        return {"type": "reasoning", "summary": self.summary}


class CodeLogs(_Given):
    """What a program printed."""

    type: Literal["logs"]
    logs: str


class CodeImage(_Given):
    """What a program drew: kept, and not shown to the model."""

    type: Literal["image"]
    url: str


class CodeCallItem(_Given):
    """A call of the code interpreter that the server ran."""

    id: ItemId | None = None
    code: str | None = None
    container_id: str = Field(max_length=128)
    outputs: list[Annotated[CodeLogs | CodeImage, Field(discriminator="type")]] | None = Field(None, max_length=1000)

    def kept(self) -> Item:
        """The item as the API gives it back."""
        outputs = None if self.outputs is None else [output.model_dump() for output in self.outputs]
        given = {"code": self.code, "container_id": self.container_id, "outputs": outputs}
        return {"type": "code_interpreter_call", "status": "completed", **given}


class SearchResult(_Given):
    """A passage that a search found."""

    attributes: dict[str, str | FiniteFloat | bool] | None = None
    file_id: str | None = None
    filename: str | None = None
    score: FiniteFloat | None = None
    text: str | None = None


class SearchCallItem(_Given):
    """A search in files that the server made."""

    id: ItemId | None = None
    queries: list[str] = Field(max_length=16)
    results: list[SearchResult] | None = Field(None, max_length=1000)

    def kept(self) -> Item:
        """The item as the API gives it back."""
        results = None if self.results is None else [result.model_dump(exclude_none=True) for result in self.results]
        return {"type": "file_search_call", "status": "completed", "queries": self.queries, "results": results}


class ReferenceItem(_Given):
    """An item of an earlier response or a conversation."""

    id: ItemId

    def kept(self) -> Item:
        """Nothing is kept of it but what it stands for."""
        return {"type": "item_reference", "id": self.id}


def _kind(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return None
    kind = value.get("type")
    if kind is None:
        kind = "message" if "role" in value else "item_reference"
    return kind if isinstance(kind, str) else None


GivenItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[OutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[CodeCallItem, Tag("code_interpreter_call")]
    | Annotated[SearchCallItem, Tag("file_search_call")]
    | Annotated[McpListItem, Tag("mcp_list_tools")]
    | Annotated[McpCallItem, Tag("mcp_call")]
    | Annotated[McpRequestItem, Tag("mcp_approval_request")]
    | Annotated[McpResponseItem, Tag("mcp_approval_response")]
    | Annotated[ReferenceItem, Tag("item_reference")],
    Discriminator(
        _kind,
        custom_error_type="item_unknown",
        custom_error_message="this server takes items of type message, function_call, function_call_output, reasoning, "
        "code_interpreter_call, file_search_call, mcp_list_tools, mcp_call, mcp_approval_request, "
        "mcp_approval_response and item_reference",
    ),
]


def kept_item(given: BaseModel) -> Item:
    """A given item as it is kept, with an id."""
    item: Item = given.kept()  # type: ignore[attr-defined]
    return {"id": given.id or new_id(PREFIXES[item["type"]]), **item}  # type: ignore[attr-defined]


def _kept_part(part: Part, role: str) -> dict[str, Any]:
    if part.type == "refusal":
        return {"type": "refusal", "refusal": part.words()}
    if role == "assistant":
        return output_text(part.words())
    return {"type": "input_text", "text": part.words()}


def output_text(text: str, logprobs: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """A part of an answer."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(logprobs)}


def messages_of(items: Sequence[Item], instructions: str | None) -> list[Message]:
    """The conversation that `items` are. ApiError where a call's result has no call."""
    messages = [Message(role="system", content=instructions)] if instructions else []
    called: set[str] = set()
    denied = _denied(items)
    for item in items:
        if item["type"] == "message":
            role = "system" if item["role"] == "developer" else item["role"]
            text = "".join(part.get("text") or part.get("refusal") or "" for part in item["content"])
            messages.append(Message(role=role, content=text))
        elif item["type"] == "function_call":
            called.add(item["call_id"])
            _add_call(messages, item)
        elif item["type"] == "function_call_output":
            if item["call_id"] not in called:
                words = f"no tool call found for function call output with call_id {item['call_id'][:200]}"
                raise ApiError(400, words, param="input")
            messages.append(Message(role="tool", content=item["output"], tool_call_id=item["call_id"]))
        elif item["type"] == "mcp_approval_request" and item["id"] in denied:
            _add_call(messages, {**item, "call_id": item["id"]})
            messages.append(Message(role="tool", content=refusal(denied[item["id"]]), tool_call_id=item["id"]))
        elif (hosted := called_by(item)) is not None:
            name, arguments, text = hosted
            _add_call(messages, {"name": name, "arguments": json.dumps(arguments), "call_id": item["id"]})
            messages.append(Message(role="tool", content=text, tool_call_id=item["id"]))
    return results_in_order(messages)


def _denied(items: Sequence[Item]) -> dict[str, Item]:
    """The answers of the user that turn a call down, by the request. Calls that wait are nothing to the model yet."""
    try:
        return approvals(items)[1]
    except ValueError as error:
        raise ApiError(400, f"input: {error}", param="input") from None


def _add_call(messages: list[Message], item: Item) -> None:
    """A call belongs to what the assistant has just said, or called."""
    try:
        call = ToolCall(name=item["name"], arguments=json.loads(item["arguments"]), id=item["call_id"])
    except ValueError as error:
        raise ApiError(400, f"input: {error}", param="input") from None
    before = messages.pop() if messages and messages[-1].role == "assistant" else Message(role="assistant")
    messages.append(Message(role="assistant", content=before.content, tool_calls=(*before.tool_calls, call)))
