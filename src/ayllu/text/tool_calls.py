"""Llama 3.1's tool calls: what they are, the definitions shown to the model, and calls written as text.

The forms, and how they are read, are in `ayllu.text.calls.parser`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CODE_INTERPRETER = "code_interpreter"
BUILT_IN = ("brave_search", "wolfram_alpha", CODE_INTERPRETER)
"""Tools that Llama 3.1 calls without a definition, always behind the python tag."""
FUNCTION, FUNCTION_END = "<function=", "</function>"

INSTRUCTIONS = (
    "Given the following functions, please respond with a JSON for a function call with its proper arguments that best "
    'answers the given prompt.\n\nRespond in the format {"name": function name, "parameters": dictionary of argument '
    "name and its value}. Do not use variables.\n\n"
)
"""What stands before the definitions, in the first message of the user (the chat template of Llama 3.1)."""

CALL_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """A JSON Schema of type object."""
    whole: Mapping[str, Any] | None = None
    """The definition as somebody gave it, where it may hold more."""

    def as_json(self) -> dict[str, Any]:
        """The definition in the words that chat templates and OpenAI's API use."""
        if self.whole is not None:
            return dict(self.whole)
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """A call that the model made. Raises ValueError on a name that no form can carry."""

    name: str
    arguments: Mapping[str, Any]
    id: str | None = field(default=None, compare=False)
    """What its answer names it by, for templates that write it."""

    def __post_init__(self) -> None:
        if not CALL_NAME.fullmatch(self.name):
            raise ValueError(f"the tool's name {self.name!r} may only have letters, digits and _ . -")


def definitions(tools: Sequence[Tool], *, indent: int | None = 4) -> str:
    """The text that tells the model of `tools`; it stands before the first words of the user.

    Llama 3.1 has seen them with an `indent` of 4; None writes each in one line, with half as many tokens.
    """
    between = "\n" if indent is None else "\n\n"
    listed = between.join(json.dumps(tool.as_json(), ensure_ascii=False, indent=indent) for tool in tools)
    return INSTRUCTIONS + listed + "\n\n"


def write_call(call: ToolCall) -> str:
    """One call as JSON, without the python tag."""
    return json.dumps({"name": call.name, "parameters": dict(call.arguments)}, ensure_ascii=False)


def write_calls(calls: Sequence[ToolCall]) -> str:
    """Calls as JSON, `; ` between them: no tag, so that any vocabulary can say it."""
    return "; ".join(write_call(call) for call in calls)


def write_function(call: ToolCall) -> str:
    """One call in the form with a tag of its own."""
    return f"{FUNCTION}{call.name}>{json.dumps(dict(call.arguments), ensure_ascii=False)}{FUNCTION_END}"


def write_built_in(call: ToolCall) -> str:
    """What stands behind the python tag for a built-in tool. Raises ValueError for arguments that have no such form."""
    if call.name == CODE_INTERPRETER:
        if list(call.arguments) != ["code"] or not isinstance(call.arguments["code"], str):
            raise ValueError("a call of code_interpreter has one argument, `code`, a text")
        return call.arguments["code"]
    if not all(isinstance(value, str) and key.isidentifier() for key, value in call.arguments.items()):
        raise ValueError(f"a call of {call.name} has texts as arguments")
    given = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in call.arguments.items())
    return f"{call.name}.call({given})"


def problem(call: ToolCall, tools: Sequence[Tool]) -> str | None:
    """Why `call` fits none of `tools`: an unknown name, a parameter too few or too many, or one of a wrong type."""
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        return f"there is no tool {call.name}"
    properties = tool.parameters.get("properties", {})
    for name in tool.parameters.get("required", ()):
        if name not in call.arguments:
            return f"{call.name} needs the parameter {name}"
    for name, value in call.arguments.items():
        if name not in properties:
            return f"{call.name} has no parameter {name}"
        if not fits(value, properties[name]):
            return f"{call.name}: {name} must be {properties[name]['type']}"
    return None


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value is of the type that `schema` names, if it names one."""
    kinds = {"string": str, "boolean": bool, "object": Mapping, "array": list, "null": type(None)}
    kind = schema.get("type")
    if kind in ("integer", "number"):
        whole = isinstance(value, int) or (isinstance(value, float) and (kind == "number" or value.is_integer()))
        return whole and not isinstance(value, bool)
    return kind not in kinds or isinstance(value, kinds[kind])
