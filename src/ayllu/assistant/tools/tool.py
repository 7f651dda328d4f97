"""A tool: a Python function, its schema from type hints and docstring, and what is known of its effects."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from ayllu.lab.visible import valid_text
from ayllu.text.tool_calls import Tool

Ask = Literal["never", "once", "always", "argument"]
"""When the user is asked before a call: never, once a conversation, each time, or once for each new arguments."""
Choices = Callable[[str], Sequence[str]]
"""What an argument can be, given the words of the user: it guides small models."""
MOST_CHARACTERS = 20_000
"""Of a result: the model's context is no place for more."""


class ToolError(Exception):
    """A call that did not work; the model and the user are told the message."""

    def __init__(self, message: str = "", *, untrusted: bool | None = None) -> None:
        """`untrusted` says whether others may have written the message; None for what the tool says of its results."""
        super().__init__(message)
        self.untrusted = untrusted


class Unlucky(ToolError):
    """A call that may work when it is made again: it took too long, or broke down."""


@dataclass(frozen=True, kw_only=True)
class Citation:
    """Where something stands."""

    source: str
    """A file, a note, a page."""
    place: str = ""
    """A line, a column, a page number."""
    passage: str = ""


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """What a call gave."""

    text: str
    """What the model reads."""
    say: str | None = None
    """A sentence that answers the user as it stands, where the result is such an answer."""
    citations: Sequence[Citation] = ()
    untrusted: bool | None = None
    """Whether others may have written it; None for what the tool says of all its results."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A request and the arguments that answer it: small models learn a tool from a few."""

    request: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunnableTool:
    """A function that the model may call, and how it is handled."""

    definition: Tool
    function: Callable[[Mapping[str, Any]], Any]
    """Takes the arguments; may be a coroutine function. Raises ToolError."""
    effect: bool = True
    """Whether a call changes something or sends something away."""
    untrusted: bool = True
    """Whether others may have written what it gives: files, pages, other people's servers."""
    ask: Ask = "always"
    seconds: float = 30.0
    examples: Sequence[Example] = ()
    choices: Mapping[str, Choices] = field(default_factory=dict)
    """For arguments by name; others that are texts are words of the user's message."""
    source: str = "built in"
    """Where the tool comes from, for the user to read."""
    guided: bool = True
    """Whether a call can be made of the words of a request, as small models make theirs."""

    @property
    def name(self) -> str:
        """What it is called by."""
        return self.definition.name


async def call_tool(tool: RunnableTool, arguments: Mapping[str, Any]) -> ToolResult:
    """Call a tool; ToolError for what did not work, for a call that took too long, and for what is no result.

    A function that is no coroutine runs in a thread, which a time-out leaves behind.
    """
    try:
        if inspect.iscoroutinefunction(tool.function):
            running = tool.function(arguments)
        else:
            running = asyncio.to_thread(tool.function, arguments)
        found = await asyncio.wait_for(running, tool.seconds)
    except TimeoutError:
        raise Unlucky(f"{tool.name} took more than {tool.seconds:g} seconds and was given up") from None
    except ToolError:
        raise
    except Exception as error:
        raise Unlucky(f"{tool.name} failed: {type(error).__name__}: {error}") from error
    return as_result(tool.name, found)


def is_torn(result: ToolResult) -> bool:
    """Whether a result is a piece of what was sent: JSON that ends early, or bytes that are no text."""
    text = result.text.strip()
    if "\x00" in text:
        return True
    if not text.startswith(('{"', "[{", '["')):
        return False
    try:
        json.loads(text)
    except ValueError:
        return len(text) < MOST_CHARACTERS  # else it was we who cut it
    return False


def as_result(name: str, found: Any) -> ToolResult:
    """Whatever a function gave, as a result; ToolError where it cannot be told."""
    if isinstance(found, ToolResult):
        result = found
    elif isinstance(found, str):
        result = ToolResult(text=found)
    else:
        try:
            result = ToolResult(text=json.dumps(found, ensure_ascii=False, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ToolError(f"{name} gave what is no JSON ({error})") from None
    result = replace(result, text=valid_text(result.text), say=result.say and valid_text(result.say))
    if len(result.text) <= MOST_CHARACTERS:
        return result
    left = len(result.text) - MOST_CHARACTERS
    cut = f"{result.text[:MOST_CHARACTERS]}\n… {left:,} more characters were left out"
    return replace(result, text=cut)


def tool_of(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    effect: bool = True,
    untrusted: bool = False,
    ask: Ask | None = None,
    seconds: float = 30.0,
    examples: Sequence[tuple[str, Mapping[str, Any]]] = (),
    choices: Mapping[str, Choices] | None = None,
    source: str = "Python",
) -> RunnableTool:
    """The tool that a Python function is: schema from its type hints, descriptions from its docstring.

    Asks the user as `ask` says: unless given, always for what has an effect, never for what has none. Raises TypeError
    for a parameter without a type, and for `*args` and `**kwargs`.
    """
    words, about = _docstring(inspect.getdoc(function) or "")
    model = _arguments_model(function, about)
    schema = _plain_schema(model.model_json_schema())

    def checked(arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            given = model.model_validate(dict(arguments))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the arguments"
            raise ToolError(f"{called}: {place}: {first['msg']}") from None
        return {name: getattr(given, name) for name in type(given).model_fields}

    def call(arguments: Mapping[str, Any]) -> Any:
        return function(**checked(arguments))

    async def call_async(arguments: Mapping[str, Any]) -> Any:
        return await function(**checked(arguments))

    called = name or function.__name__
    return RunnableTool(
        definition=Tool(name=called, description=words, parameters=schema),
        function=call_async if inspect.iscoroutinefunction(function) else call,
        effect=effect,
        untrusted=untrusted,
        ask=ask or ("always" if effect else "never"),
        seconds=seconds,
        examples=tuple(Example(request=request, arguments=arguments) for request, arguments in examples),
        choices=dict(choices or {}),
        source=source,
    )


def _arguments_model(function: Callable[..., Any], about: Mapping[str, str]) -> type[BaseModel]:
    hints = typing.get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or name not in hints:
            raise TypeError(f"{function.__name__}: the parameter {name} needs a name and a type of its own")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hints[name], Field(default, description=about.get(name)))
    return create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)


def _plain_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without titles, which only repeat names."""
    left_out = ("title",)

    def plain(value: Any, *, names: bool = False) -> Any:
        if isinstance(value, dict):
            kept = value if names else {key: entry for key, entry in value.items() if key not in left_out}
            return {key: plain(entry, names=key in ("properties", "$defs")) for key, entry in kept.items()}
        return [plain(entry) for entry in value] if isinstance(value, list) else value

    return {"properties": {}, **plain(dict(schema))}


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """The words before the first section, and what is said of each parameter (numpy's, Google's and Sphinx's forms)."""
    head = re.split(r"\n\s*(?:Parameters\s*\n\s*-+|Args:|Arguments:|Returns:?|Raises:?|:param )", text, maxsplit=1)
    about: dict[str, str] = {}
    lines = text[len(head[0]) :].split("\n")
    for number, line in enumerate(lines):
        if sphinx := re.match(r"\s*:param (?:\S+ )?(\w+):\s*(.+)", line):
            about[sphinx[1]] = sphinx[2].strip()
        elif google := re.match(r"\s+(\w+)(?: \([^)]*\))?:\s+(.+)", line):
            about[google[1]] = google[2].strip()
        elif (numpy := re.match(r"(\w+)(?: *:.*)?$", line)) and lines[number + 1 : number + 2]:
            told = lines[number + 1]
            about |= {numpy[1]: told.strip()} if told.startswith("    ") else {}
    return " ".join(head[0].split()), about
