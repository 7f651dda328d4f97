"""How fields of a request are treated that are not simply done: refused in a sentence, or taken and without effect.

The table in docs/serving/fields.md is made of these marks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, StrictBool
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True, eq=False)
class Refused:
    """Marks a field that may only ask for nothing: null, or one of `hollow`."""

    why: str
    hollow: tuple[Any, ...] = ()

    def check(self, value: Any) -> Any:
        """The value, if it asks for nothing; ValueError says why not."""
        if value is None or any(type(value) is type(one) and value == one for one in self.hollow):
            return value
        raise ValueError(f"{self.why}; leave it out")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"enum": [None, *self.hollow]}


Absent = Annotated[Any, Refused("this server cannot do that")]
Unsupported = Annotated[Any, Refused("this server cannot do that", (False, 0, "", [], {}))]


@dataclass(frozen=True)
class Harmless:
    """Marks a field that is taken and changes nothing, and says why nobody misses anything."""

    why: str


@dataclass(frozen=True)
class Also:
    """Marks a field that may be given in another way too, which its own validator reads: for the schema of the API."""

    schemas: tuple[dict[str, Any], ...]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [*self.schemas, handler(schema)]}


@dataclass(frozen=True)
class Told:
    """Marks a field that a function of ours reads, with the schema of what that takes."""

    schema: dict[str, Any]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return self.schema


def _number(value: Any) -> Any:
    """What JSON calls a number: neither true, which Python takes for 1, nor the text of one."""
    if isinstance(value, bool | str | bytes):
        raise ValueError("input should be a valid number")
    return value


Whole = Annotated[int, BeforeValidator(_number)]
Number = Annotated[float, BeforeValidator(_number)]
Flag = StrictBool


def sole(value: Any, kind: str, name: str) -> Any:
    """`value[name]` of an object of one `type`; ValueError where it has none, or other keys beside it."""
    if not isinstance(value, dict) or name not in value:
        raise ValueError(f"a {kind} needs the field {name}")
    if more := sorted(value.keys() - {"type", name}):
        raise ValueError(f"a {kind} has no field {more[0]}")
    return value[name]
