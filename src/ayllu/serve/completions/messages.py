"""The messages of a conversation as OpenAI's API has them, and in our words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ayllu.serve.completions.fields import Also, Harmless, Refused
from ayllu.serve.errors import ApiError
from ayllu.text.chat import Message
from ayllu.text.tool_calls import CALL_NAME, ToolCall

NO_MEDIA = "this server reads text only, and follows no link"


def _text_only(value: Any) -> Any:
    if isinstance(value, str) and value not in ("text", "refusal"):
        raise ValueError(f"{NO_MEDIA}; leave out the part of type {value[:50]!r}")
    return value


def _function_only(value: Any) -> Any:
    if value != "function":
        raise ValueError("this server knows calls and tools of the type function only")
    return value


def _call_name(value: str) -> str:
    if not CALL_NAME.fullmatch(value):
        raise ValueError("the name of a function has letters, digits and _ . - only")
    return value


FunctionType = Annotated[Literal["function"], BeforeValidator(_function_only)]
Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_call_name)]
"""Of a function."""


class TextPart(BaseModel):
    """A part of a message's content; a refusal of an earlier answer is text too."""

    model_config = ConfigDict(extra="ignore", defer_build=True)
    type: Annotated[Literal["text", "refusal"], BeforeValidator(_text_only)]
    text: str = ""
    refusal: str = ""
    prompt_cache_breakpoint: Annotated[Any, Harmless("what prompts have in common is found without it")] = None

    @model_validator(mode="after")
    def _has_its_text(self) -> TextPart:
        if self.type not in self.model_fields_set:
            raise ValueError(f"a part of type {self.type} needs the field {self.type}")
        return self


class CalledFunction(BaseModel):
    """Which function an earlier answer called, and how."""

    model_config = ConfigDict(extra="ignore", defer_build=True)
    name: Name
    arguments: Annotated[str, Also(({"type": "object"},))] = "{}"

    @field_validator("arguments", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return json.dumps(value) if isinstance(value, dict) else value

    def call(self, param: str, number: str | None = None) -> ToolCall:
        """The call in our words; ApiError where its arguments are no JSON object."""
        try:
            arguments = json.loads(self.arguments or "{}")
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            raise ApiError(400, f"{param}.arguments: give a JSON object, as text", param=f"{param}.arguments")
        return ToolCall(name=self.name, arguments=arguments, id=number)


class EarlierCall(BaseModel):
    """A call in an earlier answer."""

    model_config = ConfigDict(extra="ignore", defer_build=True)
    id: str
    type: FunctionType = "function"
    function: CalledFunction


class ChatMessage(BaseModel):
    """A message of a conversation; what else an earlier answer carried, such as `annotations`, is ignored."""

    model_config = ConfigDict(extra="ignore", defer_build=True)
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[list[TextPart], Also(({"type": "string"}, {"type": "null"}))]
    name: Annotated[str | None, Harmless("the chat format has no place for names of speakers")] = None
    tool_calls: list[EarlierCall] | None = None
    function_call: CalledFunction | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    audio: Annotated[Any, Refused("this server has no audio")] = None

    @model_validator(mode="before")
    @classmethod
    def _assistant(cls, value: Any) -> Any:
        """An assistant may have said nothing: its content is null, not there, or in place of it a refusal."""
        if isinstance(value, dict) and value.get("role") == "assistant" and value.get("content") is None:
            refusal = value.get("refusal")
            return {**value, "content": refusal if isinstance(refusal, str) else ""}
        return value

    @field_validator("content", mode="before")
    @classmethod
    def _parts(cls, value: Any) -> Any:
        return [{"type": "text", "text": value}] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fields_of_the_role(self) -> ChatMessage:
        if self.role != "assistant" and (self.tool_calls or self.function_call):
            raise ValueError("calls stand in messages of the assistant")
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("a message of a tool needs the field tool_call_id")
        return self

    @property
    def text(self) -> str:
        """All of its words."""
        return "".join(part.text if part.type == "text" else part.refusal for part in self.content)


def conversation(messages: Sequence[ChatMessage]) -> list[Message]:
    """The messages in our words, where results stand in the order of the calls that they belong to.

    OpenAI's newer `developer` is Llama's `system`. ApiError for a result of a call that nobody made.
    """
    told: list[Message] = []
    waiting: dict[str, int] = {}
    results: list[tuple[int, Message]] = []

    def settle() -> None:
        told.extend(message for _, message in sorted(results, key=lambda pair: pair[0]))
        results.clear()

    for number, message in enumerate(messages):
        place = f"messages.{number}"
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                raise ApiError(
                    400,
                    f"{place}.tool_call_id: no call of the message of the assistant before has the id "
                    f"{str(message.tool_call_id)[:100]!r}",
                    param=f"{place}.tool_call_id",
                )
            result = Message(role="tool", content=message.text, tool_call_id=message.tool_call_id)
            results.append((waiting[message.tool_call_id], result))
            continue
        settle()
        if message.role == "function":
            told.append(Message(role="tool", content=message.text))
            continue
        calls = _calls(message, place)
        waiting = {call.id: order for order, call in enumerate(message.tool_calls or ())}
        role = "system" if message.role == "developer" else message.role
        told.append(Message(role=role, content=message.text, tool_calls=tuple(calls)))
    settle()
    return told


def _calls(message: ChatMessage, place: str) -> list[ToolCall]:
    calls = [
        call.function.call(f"{place}.tool_calls.{i}.function", call.id)
        for i, call in enumerate(message.tool_calls or ())
    ]
    if message.function_call is not None:
        calls.append(message.function_call.call(f"{place}.function_call"))
    return calls
