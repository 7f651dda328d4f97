"""The bodies of Anthropic's Messages, as far as they are understood here.

What would change the answer and cannot be done is refused; what cannot change it is taken and ignored: a model that
does not think has nothing for `thinking` and `effort`, and what was computed once is kept without being asked to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ayllu.model.sampling import Sampling
from ayllu.serve.completions.body import CACHED_ANYWAY, NARROWEST, ONE_SPEED
from ayllu.serve.completions.fields import Harmless, Refused
from ayllu.serve.errors import ApiError
from ayllu.serve.turn.asked import Shape, ToolChoice, Turn
from ayllu.serve.turn.offered import offered_tool, with_direct
from ayllu.serve.turn.results import results_in_order
from ayllu.text.chat import Message
from ayllu.text.tool_calls import ToolCall

TOOL_NAME = r"^[a-zA-Z0-9_-]{1,128}$"
THINKS_NOT = Harmless("the models that are served do not think apart")
CacheMark = Annotated[Any, Harmless(CACHED_ANYWAY)]
StopSequence = Annotated[str, Field(min_length=1, max_length=1000)]


class _Given(BaseModel):
    """What else a part has is a mark for caches, or what an answer of ours carried, and is ignored."""

    model_config = ConfigDict(extra="ignore", defer_build=True)


def _blocks(value: Any) -> Any:
    if value is None:
        return []
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


class TextBlock(_Given):
    """Some text."""

    type: Literal["text"]
    text: str
    cache_control: CacheMark = None
    citations: Annotated[Any, Harmless("an earlier answer's; its words are there")] = None


class ToolUseBlock(_Given):
    """A call that the model made."""

    type: Literal["tool_use"]
    id: str = Field(min_length=1, max_length=256)
    name: str = Field(pattern=TOOL_NAME)
    input: dict[str, Any]
    cache_control: CacheMark = None
    caller: Annotated[Any, Harmless("only the model calls here")] = None


class ThinkingBlock(_Given):
    """What another model thought: not shown to ours, which has no form for it."""

    type: Literal["thinking", "redacted_thinking"]


class ToolResultBlock(_Given):
    """What a call gave; that it failed, its words say."""

    type: Literal["tool_result"]
    tool_use_id: str = Field(min_length=1, max_length=256)
    content: list[TextBlock] = []
    is_error: Annotated[Any, Harmless("that a call failed, its words say")] = None
    cache_control: CacheMark = None

    @field_validator("content", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return _blocks(value)


Block = Annotated[TextBlock | ToolUseBlock | ThinkingBlock | ToolResultBlock, Field(discriminator="type")]


class MessageParam(_Given):
    """A message of a conversation."""

    role: Literal["user", "assistant", "system"]
    content: list[Block] = Field(max_length=10_000)

    @field_validator("content", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return _blocks(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _whose(self) -> MessageParam:
        kinds = {block.type for block in self.content}
        if self.role != "assistant" and kinds & {"tool_use", "thinking", "redacted_thinking"}:
            raise ValueError(f"a message of the {self.role} has no calls and no thoughts")
        if self.role != "user" and "tool_result" in kinds:
            raise ValueError("results of tools stand in messages of the user")
        return self


class ToolParam(_Given):
    """A function that the model may call."""

    type: Literal["custom"] | None = None
    name: str = Field(pattern=TOOL_NAME)
    description: str | None = None
    input_schema: dict[str, Any]
    strict: bool | None = None
    defer_loading: Literal[False] | None = None
    allowed_callers: list[str] | None = None
    cache_control: CacheMark = None
    eager_input_streaming: Annotated[Any, Harmless("arguments come as early as they can")] = None
    input_examples: Annotated[Any, Harmless("templates have no place for examples; describe them")] = None

    @field_validator("allowed_callers")
    @classmethod
    def _callers(cls, value: list[str] | None) -> list[str] | None:
        return with_direct(value)


class ToolChoiceParam(BaseModel):
    """Whether tools are called."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None

    @model_validator(mode="after")
    def _named(self) -> ToolChoiceParam:
        if (self.type == "tool") != (self.name is not None):
            raise ValueError('the type "tool" needs a name, and the others have none')
        return self


class OutputFormat(BaseModel):
    """JSON that a schema describes."""

    model_config = ConfigDict(extra="forbid", defer_build=True, protected_namespaces=())
    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(BaseModel):
    """The form of the answer."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    effort: Annotated[Literal["low", "medium", "high", "xhigh", "max"] | None, THINKS_NOT] = None
    format: OutputFormat | None = None


class Metadata(_Given):
    """For whom somebody asks."""

    user_id: str | None = Field(None, max_length=512)


class CountBody(BaseModel):
    """`POST /v1/messages/count_tokens`."""

    model_config = ConfigDict(extra="forbid", defer_build=True, protected_namespaces=())
    model: str
    messages: list[MessageParam] = Field(min_length=1, max_length=100_000)
    system: list[TextBlock] = []
    tools: list[ToolParam] = Field([], max_length=128)
    tool_choice: ToolChoiceParam | None = None
    output_config: OutputConfig | None = None

    thinking: Annotated[Any, THINKS_NOT] = None
    cache_control: CacheMark = None
    speed: Annotated[Any, Harmless(ONE_SPEED)] = None
    user_profile_id: Annotated[Any, Harmless("there are no profiles here")] = None
    workspace_id: Annotated[Any, Harmless("there are no workspaces here")] = None

    @field_validator("system", "tools", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return _blocks(value)

    @model_validator(mode="after")
    def _answerable(self) -> CountBody:
        if self.messages[-1].role == "assistant":
            raise ValueError("the last message is the assistant's, and this server does not go on from within one")
        return self

    def turn(self) -> Turn:
        """What is asked, in our words. ApiError where it cannot be."""
        choice = self.tool_choice
        modes: dict[str, Literal["none", "auto", "required"]] = {"any": "required", "tool": "required", "none": "none"}
        named = choice is not None and choice.name is not None
        form = self.output_config.format if self.output_config is not None else None
        offered = [offered_tool(tool.name, tool.description, tool.input_schema) for tool in self.tools]
        try:
            return Turn(
                messages=self._conversation(),
                tools=offered,
                strict={tool.name for tool in self.tools if tool.strict},
                choice=ToolChoice(
                    mode=modes.get(choice.type, "auto") if choice else "auto",
                    names=frozenset([str(choice.name)]) if choice and named else None,
                ),
                parallel=not (choice and choice.disable_parallel_tool_use),
                shape=Shape(kind="json_schema", value=form.schema_) if form is not None else None,
            )
        except ValueError as error:
            raise ApiError(400, f"tool_choice: {error}", param="tool_choice") from None

    def _conversation(self) -> list[Message]:
        messages = [Message(role="system", content=_words(self.system))] if self.system else []
        called: set[str] = set()
        for number, given in enumerate(self.messages):
            results = [block for block in given.content if isinstance(block, ToolResultBlock)]
            for block in results:
                if block.tool_use_id not in called:
                    words = f"there is no tool_use with the id {block.tool_use_id!r} before its result"
                    raise ApiError(400, f"messages.{number}.content: {words}", param="messages")
                said = _words(block.content)
                messages.append(Message(role="tool", content=said, tool_call_id=block.tool_use_id))
            uses = [block for block in given.content if isinstance(block, ToolUseBlock)]
            called |= {block.id for block in uses}
            text = _words([block for block in given.content if isinstance(block, TextBlock)])
            if text or uses or not results:
                calls = tuple(ToolCall(name=block.name, arguments=block.input, id=block.id) for block in uses)
                messages.append(Message(role=given.role, content=text, tool_calls=calls))
        return results_in_order(messages)


class MessagesBody(CountBody):
    """`POST /v1/messages`."""

    max_tokens: int = Field(ge=1)
    stream: bool | None = None
    stop_sequences: list[StopSequence] = Field([], max_length=8191)
    temperature: float | None = Field(None, ge=0, le=1)
    """Older clients send it; so with the next two."""
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1_000_000)
    metadata: Metadata | None = None

    container: Annotated[Any, Refused("this server has no containers on this route")] = None
    diagnostics: Annotated[Any, Harmless("nothing is diagnosed")] = None
    inference_geo: Annotated[Any, Harmless("this server is where it is")] = None
    service_tier: Annotated[Any, Harmless(ONE_SPEED)] = None

    @field_validator("stop_sequences", mode="before")
    @classmethod
    def _some(cls, value: Any) -> Any:
        return value or []

    def sampling(self, default: Sampling) -> Sampling:
        """How tokens are drawn: what the body says, and for the rest the `default`."""
        given = {name: value for name in ("temperature", "top_k") if (value := getattr(self, name)) is not None}
        if self.top_p is not None:
            given["top_p"] = max(self.top_p, NARROWEST)
        return replace(default, **given)


def _words(blocks: list[TextBlock]) -> str:
    return "".join(block.text for block in blocks)
