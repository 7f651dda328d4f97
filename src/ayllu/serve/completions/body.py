"""The bodies of OpenAI's chat and text completions, with what the clients of open servers send beside it.

What would change the answer and cannot be done is refused; what cannot change it is taken and ignored. The table of
all fields is docs/serving/fields.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ayllu.model.sampling import Sampling
from ayllu.serve.completions.fields import Absent as Absent
from ayllu.serve.completions.fields import Also, Flag, Harmless, Number, Refused, Whole
from ayllu.serve.completions.messages import ChatMessage, conversation
from ayllu.serve.completions.tools import (
    MOST_TOOLS,
    Choice,
    ChoiceShape,
    FunctionCall,
    FunctionDefinition,
    FunctionTool,
    GrammarShape,
    RegexShape,
    ResponseFormat,
    SchemaShape,
    Structure,
)
from ayllu.serve.engines.engine import MOST_LOGPROBS
from ayllu.serve.errors import ApiError
from ayllu.serve.turn.asked import Shape, ToolChoice, Turn

NARROWEST = 1e-9
"""A top_p of 0, which OpenAI's API allows, means this: only the most likely token."""

MOST_PROMPTS = 32
"""Prompts in one text completion."""
MOST_CHOICES = 128
"""Answers to one request, as in OpenAI's API."""

StopString = Annotated[str, Field(min_length=1, max_length=1000)]
Penalty = Annotated[Number | None, Field(ge=-2, le=2)]
Bias = Annotated[Number, Field(ge=-100, le=100)]

NOTHING_STORED = "nothing is stored"
ONE_SPEED = "every request has the same turn"
CACHED_ANYWAY = "what prompts have in common is always computed once"


class StreamOptions(BaseModel):
    """What a stream has beside the text."""

    model_config = ConfigDict(extra="ignore", defer_build=True)
    include_usage: Flag | None = None
    include_obfuscation: Annotated[Flag | None, Harmless("chunks are never padded with random characters")] = None


class Body(BaseModel):
    """What chat and text completions have in common."""

    model_config = ConfigDict(extra="forbid", defer_build=True, protected_namespaces=())

    model: str | None = None
    """None takes the model that is served."""
    stream: Flag | None = None
    stream_options: StreamOptions | None = None
    temperature: Number | None = Field(None, ge=0, le=2)
    top_p: Number | None = Field(None, ge=0, le=1)
    top_k: Whole | None = Field(None, ge=0, le=1_000_000)
    """Not in OpenAI's API, but in every open server's; so are the next two."""
    min_p: Number | None = Field(None, ge=0, le=1)
    repetition_penalty: Number | None = Field(None, ge=0.1, le=10)
    presence_penalty: Penalty = None
    frequency_penalty: Penalty = None
    logit_bias: dict[str, Bias] | None = Field(None, max_length=1024)
    """By id, as text."""
    stop: Annotated[list[StopString], Also(({"type": "string"}, {"type": "null"}))] = Field([], max_length=4)
    seed: Whole | None = Field(None, ge=-(2**63), lt=2**63)
    n: Whole | None = Field(None, ge=1, le=MOST_CHOICES)
    user: str | None = None
    """Whose turn it is when many wait; never stored."""

    response_format: ResponseFormat = None
    structured_outputs: Structure = None
    """vLLM's words for the shape of an answer; the next four are its older ones."""
    guided_json: SchemaShape = None
    guided_regex: RegexShape = None
    guided_choice: ChoiceShape = None
    guided_grammar: GrammarShape = None

    metadata: Annotated[Any, Harmless(NOTHING_STORED)] = None
    store: Annotated[Any, Harmless(NOTHING_STORED)] = None
    service_tier: Annotated[Any, Harmless(ONE_SPEED)] = None
    safety_identifier: Annotated[Any, Harmless("nobody is reported")] = None
    prompt_cache_key: Annotated[Any, Harmless(CACHED_ANYWAY)] = None
    prompt_cache_options: Annotated[Any, Harmless(CACHED_ANYWAY)] = None
    prompt_cache_retention: Annotated[Any, Harmless(CACHED_ANYWAY)] = None

    @field_validator("stop", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else [] if value is None else value

    def sampling(self, default: Sampling, vocabulary: int) -> Sampling:
        """How tokens are drawn: what the body says, and for the rest the `default`.

        ApiError where a bias is for an id beyond the `vocabulary`.
        """

        def chosen(name: str) -> Any:
            value = getattr(self, name)
            return getattr(default, name) if value is None else value

        if self.top_p is not None:
            self.top_p = max(self.top_p, NARROWEST)
        penalties = ("repetition_penalty", "presence_penalty", "frequency_penalty")
        names = ("temperature", "top_p", "top_k", "min_p", "seed", *penalties)
        bias = {_known_id(key, vocabulary): value for key, value in (self.logit_bias or {}).items()}
        return replace(default, **{name: chosen(name) for name in names}, logit_bias=bias or default.logit_bias)

    def with_usage(self) -> bool:
        """Whether a stream ends with the counts of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def shape(self) -> Shape | None:
        """What the words of the answer must match; ApiError where two fields say it."""
        names = ("response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice")
        given = [name for name in (*names, "guided_grammar") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ApiError(400, f"{given[0]} and {given[1]} say the same; give one of them", param=given[1])
        return getattr(self, given[0]) if given else None


class ChatBody(Body):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=10_000)
    max_tokens: Whole | None = Field(None, ge=1)
    max_completion_tokens: Whole | None = Field(None, ge=1)
    truncation: Literal["auto", "disabled"] | None = None
    """Whether the oldest turns are left out when the conversation does not fit, as in OpenAI's Responses API."""
    logprobs: Flag | None = None
    top_logprobs: Whole | None = Field(None, ge=0, le=MOST_LOGPROBS)
    tools: list[FunctionTool] | None = Field(None, max_length=MOST_TOOLS)
    tool_choice: Choice = None
    parallel_tool_calls: Flag | None = None
    functions: list[FunctionDefinition] | None = Field(None, max_length=MOST_TOOLS)
    function_call: FunctionCall = None
    modalities: list[Literal["text"]] | None = None
    audio: Annotated[Any, Refused("this server has no audio")] = None
    moderation: Annotated[Any, Refused("no answer is moderated within a request; ask /v1/moderations")] = None
    prediction: Annotated[Any, Refused("this server takes no predicted answer")] = None
    web_search_options: Annotated[Any, Refused("this server does not search the web")] = None
    reasoning_effort: Annotated[Any, Harmless("the models that are served have no reasoning apart")] = None
    verbosity: Annotated[Any, Harmless("it is a wish, which the models that are served do not know")] = None

    def answer_tokens(self) -> int | None:
        """Most ids of the answer; None for as many as fit."""
        return self.max_completion_tokens or self.max_tokens

    def logprob_count(self) -> int | None:
        """How many of the likeliest ids are told with each; ApiError where nothing is told of any."""
        if not self.logprobs:
            if self.top_logprobs is not None:
                raise ApiError(400, "top_logprobs needs logprobs to be true", param="top_logprobs")
            return None
        return self.top_logprobs or 0

    @property
    def legacy(self) -> bool:
        """Whether calls are told in the older `function_call`."""
        return bool(self.functions)

    def turn(self) -> Turn:
        """What is asked for, in our words; ApiError where its parts contradict each other."""
        if self.tools and self.functions:
            raise ApiError(400, "functions are the older tools; give one of them", param="functions")
        defined = self.functions or [tool.function for tool in self.tools or ()]
        names = [function.name for function in defined]
        where, which = ("functions", "function_call") if self.functions else ("tools", "tool_choice")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ApiError(400, f"{where}: two of them are called {twice}", param=where)
        choice = self.function_call if self.functions else self.tool_choice
        try:
            return Turn(
                messages=conversation(self.messages),
                tools=[function.tool() for function in defined],
                strict={function.name for function in defined if function.strict},
                choice=choice or self.tool_choice or self.function_call or ToolChoice(),
                parallel=self.parallel_tool_calls is not False and not self.legacy,
                shape=self.shape(),
            )
        except ValueError as error:
            raise ApiError(400, f"{which}: {error}", param=which) from error


class TextBody(Body):
    """`POST /v1/completions`."""

    prompt: Annotated[
        list[str] | list[list[Whole]],
        Also(({"type": ["string", "null"]}, {"type": "array", "items": {"type": "integer"}})),
    ]
    """Several texts or lists of ids; a single one may stand without the list around it, and null is no text yet."""
    max_tokens: Whole | None = Field(None, ge=0)
    """0 for none, as those who want the echo alone say it."""
    logprobs: Whole | None = Field(None, ge=0, le=MOST_LOGPROBS)
    """How many of the likeliest ids are told with each of the answer; 0 for the drawn ones only."""
    echo: Flag | None = None
    best_of: Whole | None = Field(None, ge=1, le=MOST_CHOICES)
    suffix: Annotated[Any, Refused("this server cannot write the middle of a text", ("",))] = None

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

    def counts(self) -> tuple[int, int]:
        """How many answers each prompt gets, and of how many they are the best; ApiError where that cannot be."""
        n, best_of = self.n or 1, self.best_of or self.n or 1
        if best_of < n:
            raise ApiError(400, f"best_of is {best_of}; it must be at least n, which is {n}", param="best_of")
        if self.stream and best_of > n:
            raise ApiError(400, "the best answers are known when all are there; leave out stream", param="best_of")
        if best_of * len(self.prompt) > MOST_CHOICES:
            raise ApiError(400, f"that is more than {MOST_CHOICES} answers; ask for fewer at once", param="n")
        return n, best_of


def _known_id(key: str, vocabulary: int) -> int:
    if not (key.isascii() and key.isdigit() and len(key) < 12 and int(key) < vocabulary):
        known = f"ids are from 0 to {vocabulary - 1}"
        raise ApiError(400, f"logit_bias: there is no token {key[:20]!r}; {known}", param="logit_bias")
    return int(key)


def seeds(seed: Whole | None, count: int) -> Sequence[int | None]:
    """A seed for each of several answers: the first has the one that was given, as if it were alone."""
    if seed is None:
        return [None] * count
    return [(seed + i + 2**63) % 2**64 - 2**63 for i in range(count)]
