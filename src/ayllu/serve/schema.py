"""The bodies of OpenAI's chat and text completions, as far as they are understood here.

What would change the answer and cannot be done is refused; what cannot change it is taken and ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ayllu.model.generate import Sampling
from ayllu.text.chat import Message

NARROWEST = 1e-9
"""A top_p of 0, which OpenAI's API allows, means this: only the most likely token."""

MOST_PROMPTS = 32
"""Prompts in one text completion."""

StopString = Annotated[str, Field(min_length=1, max_length=1000)]


def _nothing(value: Any) -> None:
    if value:
        raise ValueError("this server cannot do that; leave it out")


def _absent(value: Any) -> None:
    if value is not None:
        raise ValueError("this server cannot do that; leave it out")


def _no_call(value: Any) -> None:
    if value not in (None, "none", "auto"):
        raise ValueError('this server cannot do that; leave it out or give "none"')


def _one(value: Any) -> None:
    if value not in (None, 1):
        raise ValueError("this server gives one answer at a time; leave it out")


Unsupported = Annotated[Any, AfterValidator(_nothing)]
"""A parameter that may be there as long as it asks for nothing: null, false, 0 or empty."""
Absent = Annotated[Any, AfterValidator(_absent)]
"""One of which an empty object asks for something."""
NoCall = Annotated[Any, AfterValidator(_no_call)]
"""Whether a function is to be called, where there is none."""
One = Annotated[Any, AfterValidator(_one)]


class TextPart(BaseModel):
    """A part of a message's content; a refusal of an earlier answer is text too."""

    model_config = ConfigDict(extra="ignore")
    type: Literal["text", "refusal"]
    text: str = ""
    refusal: str = ""

    @model_validator(mode="after")
    def _has_its_text(self) -> TextPart:
        if self.type not in self.model_fields_set:
            raise ValueError(f"a part of type {self.type} needs the field {self.type}")
        return self


class ChatMessage(BaseModel):
    """A message of a conversation; its `name`, and what else an earlier answer carried, is ignored."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant"]
    content: list[TextPart]
    tool_calls: Unsupported = None
    function_call: Unsupported = None
    audio: Absent = None

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

    def message(self) -> Message:
        """The message in our words; OpenAI's newer `developer` is Llama's `system`."""
        content = "".join(part.text if part.type == "text" else part.refusal for part in self.content)
        return Message(role="system" if self.role == "developer" else self.role, content=content)


class StreamOptions(BaseModel):
    """What a stream has beside the text."""

    model_config = ConfigDict(extra="ignore")
    include_usage: bool | None = None


class Body(BaseModel):
    """What chat and text completions have in common."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str | None = None
    """None takes the model that is served."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1_000_000)
    """Not in OpenAI's API, but in every open server's; so is the next."""
    repetition_penalty: float | None = Field(None, ge=0.1, le=10)
    max_tokens: int | None = Field(None, ge=1)
    stop: list[StopString] = Field([], max_length=4)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    user: str | None = None
    """Whose turn it is when many wait; never stored."""

    n: One = None
    presence_penalty: Unsupported = None
    frequency_penalty: Unsupported = None
    logit_bias: Unsupported = None
    logprobs: Unsupported = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None

    @field_validator("stop", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value or []

    def sampling(self, default: Sampling) -> Sampling:
        """How tokens are drawn: what the body says, and for the rest the `default`."""

        def chosen(name: str) -> Any:
            value = getattr(self, name)
            return getattr(default, name) if value is None else value

        if self.top_p is not None:
            self.top_p = max(self.top_p, NARROWEST)
        names = ("temperature", "top_p", "top_k", "repetition_penalty", "seed")
        return Sampling(**{name: chosen(name) for name in names})

    def with_usage(self) -> bool:
        """Whether a stream ends with the counts of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatBody(Body):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=10_000)
    max_completion_tokens: int | None = Field(None, ge=1)
    truncation: Literal["auto", "disabled"] | None = None
    """Whether the oldest turns are left out when the conversation does not fit, as in OpenAI's Responses API."""
    response_format: dict[str, Any] | None = None
    tools: Unsupported = None
    functions: Unsupported = None
    top_logprobs: Unsupported = None
    audio: Absent = None
    moderation: Absent = None
    prediction: Absent = None
    web_search_options: Absent = None
    modalities: list[Literal["text"]] | None = None
    tool_choice: NoCall = None
    function_call: NoCall = None
    parallel_tool_calls: Any = None
    reasoning_effort: Any = None
    verbosity: Any = None

    @field_validator("response_format")
    @classmethod
    def _text_only(cls, value: Any) -> Any:
        if value and value.get("type") != "text":
            raise ValueError('this server answers in plain text only; leave it out or give {"type": "text"}')
        return value

    def answer_tokens(self) -> int | None:
        """Most ids of the answer; None for as many as fit."""
        return self.max_completion_tokens or self.max_tokens


class TextBody(Body):
    """`POST /v1/completions`."""

    prompt: list[str] | list[list[int]]
    """Several texts or lists of ids; a single one may stand without the list around it, and null is no text yet."""
    echo: Unsupported = None
    suffix: Unsupported = None
    best_of: One = None

    @field_validator("prompt", mode="wrap")
    @classmethod
    def _prompts(cls, value: Any, check: Callable[[Any], Any]) -> Any:
        value = "" if value is None else value  # the beginning of a text, as in OpenAI's API
        single = isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], int))
        try:
            prompts = check([value] if single else value)
        except ValidationError:
            raise ValueError("give a text, a list of ids, or a list of either") from None
        if not 1 <= len(prompts) <= MOST_PROMPTS:
            raise ValueError(f"there are {len(prompts)} prompts; give 1 to {MOST_PROMPTS}")
        return prompts
