"""Tools, the choice among them, and the shape of an answer, as requests of OpenAI's API (and vLLM's) have them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, PlainValidator

from ayllu.serve.completions.fields import Flag, Told, sole
from ayllu.serve.completions.messages import FunctionType, Name
from ayllu.serve.turn.asked import Shape, ToolChoice
from ayllu.text.tool_calls import Tool

MOST_TOOLS = 128


class FunctionDefinition(BaseModel):
    """A function that the model may call."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """A JSON Schema of type object; None for a function without parameters."""
    strict: Flag | None = None
    """Whether the arguments must match `parameters` wherever the model calls the function."""

    def tool(self) -> Tool:
        """The function in our words; the model reads the definition as it was given, without `strict`."""
        said = self.model_dump(include={"name", "description", "parameters"}, exclude_none=True)
        whole = {"type": "function", "function": said}
        parameters = self.parameters or {"type": "object", "properties": {}}
        return Tool(name=self.name, description=self.description or "", parameters=parameters, whole=whole)


class FunctionTool(BaseModel):
    """An entry of `tools`."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    type: FunctionType
    function: FunctionDefinition


def read_choice(value: Any) -> ToolChoice | None:
    """`tool_choice` in our words; ValueError where it is none."""
    if value is None or isinstance(value, ToolChoice):
        return value
    if value in ("none", "auto", "required"):
        return ToolChoice(mode=value)
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "function":
        return ToolChoice(mode="required", names=frozenset({_named(value)}))
    if kind == "allowed_tools":
        allowed = sole(value, "tool_choice of the type allowed_tools", "allowed_tools")
        mode, tools = (allowed.get("mode"), allowed.get("tools")) if isinstance(allowed, dict) else (None, None)
        if mode not in ("auto", "required") or not isinstance(tools, list) or not tools:
            raise ValueError('allowed_tools needs a mode, "auto" or "required", and a list of tools')
        if more := sorted(allowed.keys() - {"mode", "tools"}):
            raise ValueError(f"allowed_tools has no field {more[0]}")
        return ToolChoice(mode=mode, names=frozenset(_named(tool) for tool in tools))
    raise ValueError('give "none", "auto", "required", or an object of the type function or allowed_tools')


def _named(value: Any) -> str:
    if not isinstance(value, dict) or value.get("type") != "function":
        raise ValueError("this server knows tools of the type function only")
    function = sole(value, "tool", "function")
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise ValueError("a chosen function needs its name")
    if more := sorted(function.keys() - {"name"}):
        raise ValueError(f"a chosen function has no field {more[0]}")
    return name


def read_function_call(value: Any) -> ToolChoice | None:
    """The older `function_call` in our words; ValueError where it is none."""
    if value is None or isinstance(value, ToolChoice):
        return value
    if value in ("none", "auto"):
        return ToolChoice(mode=value)
    if not isinstance(value, dict) or set(value) != {"name"} or not isinstance(value["name"], str):
        raise ValueError('give "none", "auto", or an object with the name of a function')
    return ToolChoice(mode="required", names=frozenset({value["name"]}))


def read_response_format(value: Any) -> Shape | None:
    """`response_format` in our words; None for plain text. ValueError where it is none."""
    if value is None or isinstance(value, Shape):
        return value
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "json_schema":
        given = sole(value, "response_format of the type json_schema", "json_schema")
        if not isinstance(given, dict) or not isinstance(given.get("name"), str):
            raise ValueError("json_schema needs a name")
        if more := sorted(given.keys() - {"name", "description", "strict", "schema"}):
            raise ValueError(f"json_schema has no field {more[0]}")
        described, strict = given.get("description"), given.get("strict")
        if not (described is None or isinstance(described, str)) or not (strict is None or isinstance(strict, bool)):
            raise ValueError("json_schema has a description that is text, and a strict that is true or false")
        return Shape(kind="json_schema", value=given.get("schema") if given.get("schema") is not None else {})
    if kind not in ("text", "json_object"):
        raise ValueError('give {"type": "text"}, {"type": "json_object"}, or an object of the type json_schema')
    if more := sorted(value.keys() - {"type"}):
        raise ValueError(f"a response_format of the type {kind} has no field {more[0]}")
    return Shape(kind="json_object") if kind == "json_object" else None


def read_structure(value: Any) -> Shape | None:
    """vLLM's `structured_outputs` in our words; ValueError where it is none, or two things at once."""
    if value is None or isinstance(value, Shape):
        return value
    readers = {"json": as_schema, "regex": as_regex, "choice": as_choice, "grammar": as_grammar, "json_object": _object}
    if not isinstance(value, dict) or value.keys() - readers.keys():
        raise ValueError(f"it is an object with one of {', '.join(readers)}")
    given = {name: entry for name, entry in value.items() if entry is not None and entry is not False}
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(readers)}")
    name, entry = given.popitem()
    return readers[name](entry)


def as_schema(value: Any) -> Shape | None:
    """A JSON Schema, which may be given as text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("the JSON Schema is no JSON") from None
    if value is not None and not isinstance(value, dict | Shape):
        raise ValueError("give a JSON Schema as an object, or as the text of one")
    return value if value is None or isinstance(value, Shape) else Shape(kind="json_schema", value=value)


def as_regex(value: Any) -> Shape | None:
    """A regular expression that the whole answer matches."""
    return _text(value, "regex", "a regular expression")


def as_grammar(value: Any) -> Shape | None:
    """A grammar in llguidance's Lark notation."""
    return _text(value, "lark", "a grammar in Lark's notation")


def _text(value: Any, kind: Literal["regex", "lark"], what: str) -> Shape | None:
    if value is None or isinstance(value, Shape):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError(f"give {what} as text")
    return Shape(kind=kind, value=value)


def as_choice(value: Any) -> Shape | None:
    """Texts, one of which is the answer."""
    if value is None or isinstance(value, Shape):
        return value
    if not isinstance(value, list) or not value or not all(isinstance(text, str) and text for text in value):
        raise ValueError("give a list of texts, none of them empty")
    return Shape(kind="choice", value=value)


def _object(value: Any) -> Shape:
    return Shape(kind="json_object")


_FUNCTION = {
    "type": "object",
    "properties": {
        "type": {"const": "function"},
        "function": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
    "required": ["type", "function"],
}
Choice = Annotated[
    Any,
    PlainValidator(read_choice),
    Told(
        {
            "anyOf": [
                {"enum": [None, "none", "auto", "required"]},
                _FUNCTION,
                {
                    "type": "object",
                    "properties": {
                        "type": {"const": "allowed_tools"},
                        "allowed_tools": {
                            "type": "object",
                            "properties": {"mode": {"enum": ["auto", "required"]}, "tools": {"type": "array"}},
                            "required": ["mode", "tools"],
                        },
                    },
                    "required": ["type", "allowed_tools"],
                },
            ]
        }
    ),
]
FunctionCall = Annotated[
    Any,
    PlainValidator(read_function_call),
    Told({"anyOf": [{"enum": [None, "none", "auto"]}, {"type": "object", "required": ["name"]}]}),
]
ResponseFormat = Annotated[
    Any,
    PlainValidator(read_response_format),
    Told(
        {
            "anyOf": [
                {"type": "null"},
                {
                    "type": "object",
                    "properties": {"type": {"enum": ["text", "json_object", "json_schema"]}},
                    "required": ["type"],
                },
            ]
        }
    ),
]
Structure = Annotated[Any, PlainValidator(read_structure), Told({"type": ["object", "null"]})]
SchemaShape = Annotated[Any, PlainValidator(as_schema), Told({"type": ["object", "string", "null"]})]
RegexShape = Annotated[Any, PlainValidator(as_regex), Told({"type": ["string", "null"]})]
GrammarShape = Annotated[Any, PlainValidator(as_grammar), Told({"type": ["string", "null"]})]
ChoiceShape = Annotated[Any, PlainValidator(as_choice), Told({"type": ["array", "null"]})]
