"""Calls whose arguments stand in tags of their own, as Qwen3-Coder, GLM and MiniMax write them.

    <function=NAME><parameter=KEY>VALUE</parameter>…</function>

A text stands there as it is, everything else as JSON or as Python prints it; the tool's schema tells which is which.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ayllu.text.calls.read import literal, load
from ayllu.text.calls.shape import ArgumentTags
from ayllu.text.tool_calls import CALL_NAME, fits

LONGEST_NAME = 128
"""Characters of a name: what goes on for longer is none."""
_NAME_END = re.compile(r"[\s<]")


class Unreadable(ValueError):
    """What stands in the tags is no call."""


class TagScan:
    """Reads one call from behind what opens its name; it goes on where the last chunk ended."""

    def __init__(self, tags: ArgumentTags) -> None:
        self._tags = tags
        self.name = ""
        self.values: dict[str, str] = {}
        """The arguments as they stand there."""
        self._at = 0
        self._key: str | None = None
        self._looked = 0
        """Where the end of the value under way is looked for."""

    def end(self, text: str, *, final: bool) -> int | None:
        """The place behind the call's closing tag in `text`, or None while it has not come.

        Raises Unreadable where there is no call, and, where the text is `final`, none that is whole.
        """
        while True:
            step = self._name(text) if not self.name else self._value(text) if self._key else self._next(text)
            if step is None:
                if final:
                    raise Unreadable("it ends before its closing tag")
                return None
            self._at = step
            if self.name and self._key is None and self._closed:
                return step

    _closed = False

    def _name(self, text: str) -> int | None:
        """The function's name; perhaps with spaces around it, as in a line of its own."""
        tags = self._tags
        start = len(text) - len(text.lstrip())
        stop = text.find(tags.behind_name, start) if tags.behind_name else -1
        if not tags.behind_name and (found := _NAME_END.search(text, start)):
            stop = found.start()
        name = text[start : stop if stop >= 0 else len(text)].strip()
        if stop < 0 and (begun := CALL_NAME.match(name)) and tags.behind_name.startswith(name[begun.end() :].lstrip()):
            name = begun[0]  # what is behind it may have begun
        if len(name) > LONGEST_NAME or (name and not CALL_NAME.fullmatch(name)) or (stop >= 0 and not name):
            raise Unreadable("its name is not the name of a function")
        if stop < 0:
            return None
        self.name = name
        return stop + len(tags.behind_name)

    def _next(self, text: str) -> int | None:
        """Behind the name or a value: another argument, or the end of the call."""
        tags = self._tags
        rest = text[self._at :].lstrip()
        at = len(text) - len(rest)
        if rest.startswith(tags.key):
            start = at + len(tags.key)
            stop = text.find(tags.value.strip(), start)
            if stop < 0:
                if len(text) - start > LONGEST_NAME:
                    raise Unreadable("an argument has no name")
                return None
            key = text[start:stop].strip()
            if not key or key in self.values:
                raise Unreadable("an argument has no name" if not key else "a key stands there twice")
            self._key, self._looked = key, stop + len(tags.value.strip())
            return self._looked
        if rest.startswith(tags.close):
            self._closed = True
            return at + len(tags.close)
        if tags.key.startswith(rest) or tags.close.startswith(rest):
            return None
        raise Unreadable(f"{tags.key} or {tags.close} must follow")

    def _value(self, text: str) -> int | None:
        """A value up to the closing tag behind which the call goes on or ends: others are part of it."""
        tags = self._tags
        assert self._key is not None
        while (stop := text.find(tags.end, self._looked)) >= 0:
            rest = text[stop + len(tags.end) :].lstrip()
            if rest.startswith((tags.key, tags.close)):
                value = text[self._at : stop]
                if tags.lines:
                    value = value.removeprefix("\n").removesuffix("\n")
                self.values[self._key], self._key = value, None
                return stop + len(tags.end)
            if tags.key.startswith(rest) or tags.close.startswith(rest):
                self._looked = stop
                return None
            self._looked = stop + 1
        self._looked = max(self._at, len(text) - len(tags.end) + 1)
        return None

    def arguments(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with their types, as the schema of the tool's `parameters` has them."""
        properties = parameters.get("properties")
        known = properties if isinstance(properties, Mapping) else {}
        return {key: typed(text, known.get(key)) for key, text in self.values.items()}


def typed(text: str, schema: Any) -> Any:
    """What a value in tags means: a text where the schema asks for one, else what JSON or Python read in it.

    Where nothing is known, what is no JSON is a text; so is what is not of the type that is asked for.
    """
    kinds = _kinds(schema)
    if kinds == {"string"}:
        return text
    value, why = load(text)
    if why is not None:
        value, why = literal(text)
    if why is not None:
        return text
    if kinds and not any(fits(value, {"type": kind}) for kind in kinds - {"string"}):
        return text
    return value


def _kinds(schema: Any) -> set[str]:
    """The types that a schema names; none where it does not say."""
    if not isinstance(schema, Mapping):
        return set()
    named = schema.get("type")
    if isinstance(named, str):
        return {named}
    if isinstance(named, list):
        return {kind for kind in named if isinstance(kind, str)}
    chosen = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(chosen, list) and all(isinstance(one, str) for one in chosen):
        return {"string"}
    members: list[Any] = next((schema[key] for key in ("anyOf", "oneOf") if isinstance(schema.get(key), list)), [])
    found = [_kinds(member) for member in members]
    return set().union(*found) if found and all(found) else set()
