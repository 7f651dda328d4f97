"""The body of `POST /v1/responses`, as far as it is understood here.

What would change the answer and cannot be done is refused; what cannot change it is taken and ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from ayllu.model.sampling import Sampling
from ayllu.serve.completions.body import CACHED_ANYWAY, NARROWEST, ONE_SPEED
from ayllu.serve.completions.fields import Harmless, Refused
from ayllu.serve.responses.hosted.mcp import McpChoice, McpOffer, McpTool
from ayllu.serve.responses.hosted.tools import DEFINITIONS, CodeInterpreterTool, FileSearchTool, HostedTool
from ayllu.serve.responses.items import GivenItem, ItemId
from ayllu.serve.turn.asked import Shape, ToolChoice
from ayllu.serve.turn.offered import offered_tool, with_direct
from ayllu.text.tool_calls import Tool

MOST_ITEMS = 10_000
MOST_TOOLS = 128
TOOL_NAME = r"^[A-Za-z0-9_-]{1,64}$"
INCLUDES = (
    "message.output_text.logprobs",
    # These add to items that no answer of ours has.
    "reasoning.encrypted_content",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
)
LOGPROBS = INCLUDES[0]
THINKS_NOT = Harmless("the models that are served have no reasoning apart")
CachedAnyway = Annotated[Any, Harmless(CACHED_ANYWAY)]


def _few(value: dict[str, str]) -> dict[str, str]:
    if len(value) > 16 or any(len(name) > 64 or len(text) > 512 for name, text in value.items()):
        raise ValueError("metadata has at most 16 entries, names of at most 64 and texts of at most 512 characters")
    return value


Metadata = Annotated[dict[str, str], AfterValidator(_few)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True, protected_namespaces=())


class ConversationRef(_Strict):
    """A conversation by its id."""

    id: ItemId


class StreamOptions(BaseModel):
    """What a stream has beside the text."""

    model_config = ConfigDict(extra="ignore", defer_build=True)
    include_obfuscation: Annotated[bool | None, Harmless("events are never padded with random characters")] = None


class PlainFormat(_Strict):
    """Text, or any JSON object."""

    type: Literal["text", "json_object"]


class SchemaFormat(_Strict):
    """JSON that a schema describes."""

    type: Literal["json_schema"]
    name: str = Field(pattern=TOOL_NAME)
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class TextConfig(_Strict):
    """The form of the answer's text."""

    format: Annotated[PlainFormat | SchemaFormat, Field(discriminator="type")] | None = None
    verbosity: Annotated[
        Literal["low", "medium", "high"] | None, Harmless("it is a wish, which the models that are served do not know")
    ] = None


class FunctionTool(BaseModel):
    """A function that the model may call."""

    model_config = ConfigDict(extra="ignore", defer_build=True)
    type: Literal["function"]
    name: str = Field(pattern=TOOL_NAME)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    defer_loading: Literal[False] | None = None
    async_: Annotated[Any, Refused("an answer waits for what its calls give", (False,))] = Field(None, alias="async")
    allowed_callers: list[Literal["direct", "programmatic"]] | None = None
    output_schema: Annotated[Any, Harmless("it is for programs that call, and only the model calls here")] = None

    @field_validator("allowed_callers")
    @classmethod
    def _callers(cls, value: list[str] | None) -> list[str] | None:
        return with_direct(value)


GivenTool = Annotated[FunctionTool | CodeInterpreterTool | FileSearchTool | McpTool, Field(discriminator="type")]


class HostedChoice(_Strict):
    """A tool of the server that has to be called."""

    type: Literal["code_interpreter", "file_search"]

    @property
    def name(self) -> str:
        """What the model calls."""
        return self.type


class FunctionChoice(_Strict):
    """One function that has to be called."""

    type: Literal["function"]
    name: str


class AllowedChoice(_Strict):
    """Functions among which the model may choose."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"] = "auto"
    tools: list[FunctionChoice | HostedChoice | McpChoice] = Field(min_length=1, max_length=MOST_TOOLS)


class Reasoning(BaseModel):
    """How much a model thinks before it answers: ours do not."""

    model_config = ConfigDict(extra="ignore", defer_build=True)
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


class InputBody(_Strict):
    """What the prompt of a response is made of."""

    model: str | None = None
    input: list[GivenItem] | None = Field(None, max_length=MOST_ITEMS)
    instructions: str | None = None
    previous_response_id: ItemId | None = None
    conversation: ConversationRef | None = None
    text: TextConfig = Field(default_factory=TextConfig)
    tools: list[GivenTool] = Field([], max_length=MOST_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | HostedChoice | McpChoice | AllowedChoice = (
        "auto"
    )
    parallel_tool_calls: bool | None = None
    reasoning: Annotated[Reasoning | None, THINKS_NOT] = None
    truncation: Literal["auto", "disabled"] | None = None

    @field_validator("input", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return [{"role": "user", "content": value}] if isinstance(value, str) else value

    @field_validator("conversation", mode="before")
    @classmethod
    def _reference(cls, value: Any) -> Any:
        return {"id": value} if isinstance(value, str) else value

    @field_validator("text", "tools", "tool_choice", mode="before")
    @classmethod
    def _default(cls, value: Any, info: Any) -> Any:
        return {"text": {}, "tools": [], "tool_choice": "auto"}[info.field_name] if value is None else value

    @model_validator(mode="after")
    def _one_past(self) -> InputBody:
        if self.conversation is not None and self.previous_response_id is not None:
            raise ValueError("previous_response_id and conversation do not go together; leave one of them out")
        if not self.input and self.conversation is None and self.previous_response_id is None:
            raise ValueError("input is missing; give a text or items")
        if len({tool.name for tool in self.tools}) < len(self.tools):
            raise ValueError("two tools have the same name")
        return self

    def offered(self, mcp: McpOffer) -> list[Tool]:
        """The tools in our words, those of MCP servers last."""
        own = [
            offered_tool(tool.name, tool.description, tool.parameters)
            if isinstance(tool, FunctionTool)
            else DEFINITIONS[tool.name]
            for tool in self.tools
            if not isinstance(tool, McpTool)
        ]
        return [*own, *mcp.tools]

    def hosted(self) -> list[HostedTool]:
        """The tools that the server runs."""
        return [tool for tool in self.tools if not isinstance(tool, FunctionTool)]

    def strict_tools(self) -> set[str]:
        """Those whose arguments must match their schemas: OpenAI's default is that they do."""
        own = [tool for tool in self.tools if not isinstance(tool, McpTool)]  # their schemas are whatever they are
        return {tool.name for tool in own if not isinstance(tool, FunctionTool) or tool.strict}

    def choice(self, mcp: McpOffer) -> ToolChoice:
        """Whether tools are called. Raises ValueError for a tool that an MCP server does not offer."""
        choice = self.tool_choice

        def names(one: FunctionChoice | HostedChoice | McpChoice) -> frozenset[str]:
            return mcp.chosen(one) if isinstance(one, McpChoice) else frozenset([one.name])

        if isinstance(choice, FunctionChoice | HostedChoice | McpChoice):
            return ToolChoice(mode="required", names=names(choice))
        if isinstance(choice, AllowedChoice):
            return ToolChoice(mode=choice.mode, names=frozenset().union(*map(names, choice.tools)))
        return ToolChoice(mode=choice)

    def shape(self) -> Shape | None:
        """What the words of the answer must match."""
        form = self.text.format
        if isinstance(form, SchemaFormat):
            return Shape(kind="json_schema", value=form.schema_)
        return Shape(kind="json_object") if form is not None and form.type == "json_object" else None


class CountBody(InputBody):
    """`POST /v1/responses/input_tokens`."""

    personality: Annotated[Any, Refused("the models that are served have none to choose")] = None


class ResponseBody(InputBody):
    """`POST /v1/responses`."""

    background: bool | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    include: list[Literal[INCLUDES]] = []  # type: ignore[valid-type]
    max_output_tokens: int | None = Field(None, ge=1)
    max_tool_calls: int | None = Field(None, ge=1)
    """Counts calls of tools that the server runs itself."""
    metadata: Metadata = {}
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_logprobs: int | None = Field(None, ge=0, le=20)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    """In Open Responses; so is the next. Those after it are in every open server's API."""
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    top_k: int | None = Field(None, ge=0, le=1_000_000)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, ge=0.1, le=10)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    user: str | None = Field(None, max_length=512)
    """Whose turn it is when many wait; so is the next, and nobody is reported."""
    safety_identifier: str | None = Field(None, max_length=512)
    prompt_cache_key: Annotated[str | None, Harmless(CACHED_ANYWAY)] = Field(None, max_length=512)

    background_options: Annotated[Any, Refused("the background has no options here")] = None
    prompt: Annotated[Any, Refused("no prompts are kept here; send its text")] = None
    moderation: Annotated[Any, Refused("no answer is moderated within a request; ask /v1/moderations")] = None
    context_management: Annotated[Any, Refused("nothing is compacted here, only truncated")] = None
    access_programs: Annotated[Any, Refused("this server knows no such programs")] = None
    image: Annotated[Any, Harmless("no picture is read or made here")] = None
    prompt_cache_options: CachedAnyway = None
    prompt_cache_retention: CachedAnyway = None
    service_tier: Annotated[Any, Harmless(ONE_SPEED)] = None

    @field_validator("include", "metadata", mode="before")
    @classmethod
    def _none(cls, value: Any, info: Any) -> Any:
        return {"include": [], "metadata": {}}[info.field_name] if value is None else value

    @model_validator(mode="after")
    def _kept_where_nobody_waits(self) -> ResponseBody:
        if self.background and self.store is False:
            raise ValueError("a response in the background must be stored; leave store out or give true")
        return self

    def sampling(self, default: Sampling) -> Sampling:
        """How tokens are drawn: what the body says, and for the rest the `default`."""
        names = ("temperature", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.top_p is not None:
            given["top_p"] = max(self.top_p, NARROWEST)
        return Sampling(**{**{name: getattr(default, name) for name in (*names, "top_p")}, **given})

    def logprobs(self) -> int | None:
        """How many likely tokens are told with each; None where none is asked for."""
        return (self.top_logprobs or 0) if LOGPROBS in self.include or self.top_logprobs else None


def is_id(name: str) -> bool:
    """Whether `name` may be one of ours: the databases are not asked for others."""
    return re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", name) is not None


def echoed_format(text: TextConfig) -> Mapping[str, Any]:
    """The format as the response repeats it."""
    form = text.format
    if isinstance(form, SchemaFormat):
        fields = {"name": form.name, "schema": form.schema_, "description": form.description}
        return {"type": "json_schema", **fields, "strict": bool(form.strict)}
    return {"type": form.type if form is not None else "text"}
