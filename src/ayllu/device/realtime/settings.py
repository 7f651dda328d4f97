"""A session's settings: what clients may set, what it means here, and what is refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ayllu.device.hear.ear import Listening
from ayllu.device.realtime.formats import Format, Pcm
from ayllu.device.translate.translator import LANGUAGES
from ayllu.serve.errors import ApiError
from ayllu.serve.turn.asked import ToolChoice
from ayllu.text.tool_calls import Tool

OPENAI_VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
"""What clients ask for that know OpenAI's voices only: they get the voice that is here, and its name."""
NEVER = 2.0
"""A probability that no judge gives: silence alone ends a turn."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ServerVad(Strict):
    """Silence of a fixed length ends a turn."""

    type: Literal["server_vad"]
    threshold: float = Field(0.5, ge=0, le=1)
    prefix_padding_ms: int = Field(300, ge=0, le=5000)
    silence_duration_ms: int = Field(500, ge=100, le=10_000)
    idle_timeout_ms: None = None
    create_response: bool = True
    interrupt_response: bool = True

    def listening(self) -> Listening:
        """The settings of the ear."""
        return Listening(
            threshold=self.threshold,
            release=max(0.0, self.threshold - 0.15),
            prefix=self.prefix_padding_ms,
            complete=NEVER,
            patience=self.silence_duration_ms,
        )


class SemanticVad(Strict):
    """A model hears whether a sentence is complete."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True

    def listening(self) -> Listening:
        """The settings of the ear."""
        complete, patience = {"low": (0.8, 4000), "high": (0.3, 900)}.get(self.eagerness, (0.5, 1500))
        return Listening(complete=complete, patience=patience)


class Transcription(Strict):
    model: str | None = None
    language: str | None = None
    prompt: None = None
    delay: None = None


class Input(Strict):
    format: Format = Field(default_factory=Pcm, discriminator=None)
    transcription: Transcription | None = None
    noise_reduction: None = None
    turn_detection: Annotated[ServerVad | SemanticVad, Field(discriminator="type")] | None = Field(
        default_factory=lambda: SemanticVad(type="semantic_vad")
    )


class Output(Strict):
    format: Format = Field(default_factory=Pcm)
    voice: str | None = None
    speed: Annotated[float, Field(ge=0.25, le=1.5)] = 1.0


class AudioSettings(Strict):
    input: Input = Field(default_factory=Input)
    output: Output = Field(default_factory=Output)


class FunctionTool(Strict):
    type: Literal["function"]
    name: str = Field(min_length=1, max_length=64)
    description: str = ""
    parameters: dict[str, Any] | None = None

    def tool(self) -> Tool:
        """As the model is told of it."""
        parameters = self.parameters or {"type": "object", "properties": {}}
        return Tool(name=self.name, description=self.description, parameters=parameters)


class NamedTool(Strict):
    type: Literal["function"]
    name: str


Choice = Literal["none", "auto", "required"] | NamedTool
Modalities = Annotated[list[Literal["text", "audio"]], Field(min_length=1, max_length=1)]
Most = Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]


def tool_choice(choice: Choice) -> ToolChoice:
    """As the model's turn takes it."""
    if isinstance(choice, NamedTool):
        return ToolChoice(mode="required", names=frozenset([choice.name]))
    return ToolChoice(mode=choice)


class Settings(Strict):
    """A session of type `realtime`."""

    type: Literal["realtime"] = "realtime"
    model: str | None = None
    output_modalities: Modalities = ["audio"]
    instructions: str = ""
    audio: AudioSettings = Field(default_factory=AudioSettings)
    tools: list[FunctionTool] = Field(default_factory=list)
    tool_choice: Choice = "auto"
    parallel_tool_calls: bool = True
    max_output_tokens: Most = "inf"
    truncation: Literal["auto", "disabled"] = "auto"
    tracing: Literal["auto"] | None = None
    """OpenAI's own service for traces, which is not here: taken, and nothing is traced."""
    include: Annotated[list[Any], Field(max_length=0)] | None = None
    prompt: None = None
    reasoning: None = None

    @model_validator(mode="after")
    def _voice(self) -> Settings:
        self.tracing = None
        return self


class ResponseSettings(Strict):
    """What `response.create` may say of one response."""

    conversation: Literal["auto", "none"] = "auto"
    input: list[dict[str, Any]] | None = None
    instructions: str | None = None
    output_modalities: Modalities | None = None
    audio: dict[Literal["output"], Output] | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: Most | None = None
    metadata: dict[str, str] | None = None
    prompt: None = None
    reasoning: None = None


def updated(settings: Settings, change: dict[str, Any], *, voice: str, model: str, language: str = "en") -> Settings:
    """The settings after `session.update`; ApiError, and no change, where something of it cannot be honoured."""
    merged = _merged(settings.model_dump(), change)
    try:
        found = Settings.model_validate(merged)
    except ValidationError as error:
        raise refused(error, "session") from None
    check_voice(found.audio.output.voice, voice)
    found.audio.output.voice, found.model = voice, model
    asked = found.audio.input.transcription and found.audio.input.transcription.language
    if asked and asked.partition("-")[0] != language:
        told = LANGUAGES[language]
        raise ApiError(
            400,
            f"only {told} is understood here, not {asked[:20]!r}",
            param="session.audio.input.transcription.language",
            code="invalid_value",
        )
    return found


def described(settings: Settings, session: str, hearing: str) -> dict[str, Any]:
    """A session as its client sees it; `hearing` is what writes down what is said."""
    shown = settings.model_dump()
    heard = shown["audio"]["input"]["transcription"]
    if heard is not None:
        heard["model"] = hearing
    return {"id": session, "object": "realtime.session", **shown}


def check_voice(asked: str | None, voice: str) -> None:
    """ApiError where a voice is asked for that nobody has."""
    if asked is not None and asked != voice and asked not in OPENAI_VOICES:
        raise ApiError(
            400,
            f"there is no voice {asked[:40]!r}; the voice here is {voice!r}",
            param="session.audio.output.voice",
            code="invalid_value",
        )


def refused(error: ValidationError, root: str) -> ApiError:
    """The first problem that was found, in one sentence."""
    first = error.errors()[0]
    place = ".".join([root, *map(str, first["loc"])])[:200]
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"{place} is not known here", param=place, code="unknown_parameter")
    if first["type"] == "none_required":
        return ApiError(400, f"{place} is not done here; leave it out or null", param=place, code="invalid_value")
    return ApiError(400, f"{place}: {first['msg']}", param=place, code="invalid_value")


def _merged(old: Any, new: Any) -> Any:
    """`new` over `old`: objects by their fields, but one of another `type` takes the place of what was there."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    if "type" in new and new["type"] != old.get("type") and "type" in old:
        return new
    return {**old, **{name: _merged(old.get(name), value) for name, value in new.items()}}
