"""A tool that a client offers, as the model is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ayllu.text.tool_calls import Tool


def offered_tool(name: str, description: str | None, parameters: Mapping[str, Any] | None) -> Tool:
    """A tool in our words; the model reads the definition as it was given, without what was not."""
    said = {"name": name, "description": description, "parameters": parameters}
    whole = {"type": "function", "function": {key: value for key, value in said.items() if value is not None}}
    schema = parameters if parameters is not None else {"type": "object", "properties": {}}
    return Tool(name=name, description=description or "", parameters=schema, whole=whole)


def with_direct(callers: list[str] | None) -> list[str] | None:
    """Who may call a tool; ValueError where that is not the model itself, since nothing else calls here."""
    if callers is not None and "direct" not in callers:
        raise ValueError('only the model itself calls tools here; add "direct"')
    return callers
