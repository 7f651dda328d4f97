"""Whether JSON is exactly what a class of an official client says: no field missing, wrong or unknown to it."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter

Model = TypeVar("Model", bound=BaseModel)


def strictly(model: type[Model], data: Any) -> Model:
    """`data` as `model`, which the client itself would make of anything. Raises where it is not one.

    The clients' classes take unknown fields in; they must have none, at any depth.
    """
    found = TypeAdapter(model).validate_python(data, strict=True)
    unknown = list(_unknown(found, model.__name__))
    assert not unknown, unknown
    return found


def _unknown(value: Any, place: str) -> list[str]:
    if isinstance(value, BaseModel):
        own = [f"{place}.{name}" for name in value.model_extra or ()]
        return own + [x for name in type(value).model_fields for x in _unknown(getattr(value, name), f"{place}.{name}")]
    if isinstance(value, list):
        return [x for i, entry in enumerate(value) for x in _unknown(entry, f"{place}.{i}")]
    return []
