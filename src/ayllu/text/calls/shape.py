"""What stands around and within a call as a model's own template writes it, as far as replies are read by it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_PART = re.compile(r"<[^<>\s]*>|\[[^\[\]\s]*\]|[^\s<\[]+|\S|\s+")


@dataclass(frozen=True, kw_only=True, slots=True)
class CallKeys:
    """Where the JSON of a call has its name and its arguments, where it is not {"name": …, "arguments": {…}}."""

    holder: tuple[str, ...] = ()
    """Keys, from the outermost in, of the object that holds both; a list on the way may hold several calls."""
    name: str = "name"
    arguments: str = "arguments"

    def find(self, value: Any) -> Iterator[tuple[Any, Any]]:
        """Name and arguments of each call in `value`."""
        held = [value]
        for key in self.holder:
            inner = [entry[key] for entry in held if isinstance(entry, dict) and key in entry]
            held = [one for entry in inner for one in (entry if isinstance(entry, list) else [entry])]
        for entry in held:
            if isinstance(entry, dict) and {self.name, self.arguments} <= entry.keys():
                yield entry[self.name], entry[self.arguments]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArgumentTags:
    """Tags around a call's name and around each of its arguments, where they stand in place of JSON.

    NAME `behind_name` (`key` KEY `value` VALUE `end`)… `close`
    """

    behind_name: str
    """"" where a space, a line or the next tag ends the name."""
    key: str
    value: str
    end: str
    close: str
    lines: bool
    """Whether a line break at each end of a value is none of it."""


FUNCTION_TAGS = ArgumentTags(
    behind_name=">", key="<parameter=", value=">", end="</parameter>", close="</function>", lines=True
)
"""Behind `<function=`, as Qwen3-Coder writes it."""
ID = "\0"
"""Where a form has the id of a call, which is another in each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallForm:
    """What a model's own template writes around a call, which is JSON where nothing else is said."""

    opening: str
    """Before it; "" where the reply begins with the JSON."""
    closing: str = ""
    between: str | None = None
    """Between the name of the function and the JSON of its arguments, where the name stands outside; with `ID`."""
    keys: CallKeys | None = None
    literal: bool = False
    """Whether it is no JSON but what Python prints, with single quotes and None."""
    tags: ArgumentTags | None = None
    """What stands behind the opening in place of JSON."""
    called: bool = False
    """Whether calls are written as Python calls functions, alone, in lines or in a list: [f(a=1), g()]."""

    @property
    def is_json(self) -> bool:
        """Whether the call is an object with the usual keys, or a name and an object."""
        return self.keys is None and self.tags is None and not (self.literal or self.called)


TOOL_CALL = CallForm(opening="<tool_call>", closing="</tool_call>")


def parts(text: str) -> list[str]:
    """Tags, words and spaces, in their order."""
    return _PART.findall(text)
