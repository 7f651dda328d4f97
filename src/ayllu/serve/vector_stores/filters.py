"""Which files a search may find, by their attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

Value = StrictStr | StrictBool | StrictInt | StrictFloat
MOST_DEEP = 8
"""Filters within filters."""


class Comparison(BaseModel):
    """An attribute beside a value; a file without the attribute is only ever unequal."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    type: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]
    key: StrictStr
    value: Value | list[Value]

    @model_validator(mode="after")
    def _kind(self) -> Comparison:
        if isinstance(self.value, list) != (self.type in ("in", "nin")):
            raise ValueError(f"{self.type} needs {'a list of values' if self.type in ('in', 'nin') else 'one value'}")
        if self.type in ("gt", "gte", "lt", "lte") and isinstance(self.value, str | bool):
            raise ValueError(f"{self.type} compares numbers")
        return self

    def holds(self, attributes: Mapping[str, Any]) -> bool:
        """Whether a file of these attributes may be found."""
        found, value = attributes.get(self.key), self.value
        if self.type in ("in", "nin"):
            assert isinstance(value, list)
            return any(_equal(found, one) for one in value) == (self.type == "in")
        if self.type in ("eq", "ne"):
            return _equal(found, value) == (self.type == "eq")
        if isinstance(found, bool) or not isinstance(found, int | float):
            return False
        assert isinstance(value, int | float)
        return {"gt": found > value, "gte": found >= value, "lt": found < value, "lte": found <= value}[self.type]


class Compound(BaseModel):
    """All of some filters, or any of them."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    type: Literal["and", "or"]
    filters: list[Filter] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _shallow(self) -> Compound:
        if self.depth() > MOST_DEEP:
            raise ValueError(f"filters may stand within filters {MOST_DEEP} times")
        return self

    def depth(self) -> int:
        """How many compounds stand within one another."""
        return 1 + max(one.depth() if isinstance(one, Compound) else 0 for one in self.filters)

    def holds(self, attributes: Mapping[str, Any]) -> bool:
        """Whether a file of these attributes may be found."""
        return (all if self.type == "and" else any)(one.holds(attributes) for one in self.filters)


Filter = Annotated[Union[Comparison, Compound], Field(discriminator="type")]  # noqa: UP007 - read before Compound is there


def _equal(found: Any, value: Any) -> bool:
    """Whether both are the same value; true is not 1."""
    return isinstance(found, bool) == isinstance(value, bool) and found == value
