"""A request type of an official client, field by field: what the server does with each is tried, not claimed.

A body that is right is given to what the server reads bodies with, without a field and with it. What is refused says
why. What is taken and makes no difference to what was read is ignored, and then somebody has to have written why that
is harmless: in a mark of the server's model (`Harmless`), or in the notes of a route.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

import typing_extensions
from pydantic import BaseModel
from pydantic import ValidationError as Invalid

from ayllu.serve.completions.fields import Harmless
from ayllu.serve.errors import ApiError

Body = dict[str, Any]
Row = tuple[str, str, str]
"""Path, what is done, and a note."""
WRAPPERS = (Required, NotRequired, Annotated)
SUPPORTED, REFUSED, IGNORED = "supported", "refused", "ignored, harmless"
SHORTER = {
    "item_unknown": "an item of a type that this server does not know",
    "union_tag_invalid": "a part of a type that this server does not know",
    "extra_forbidden": "a field that this server does not know",
}
"""What is said of types and fields for which the server has a longer sentence."""
FIXED: dict[str, tuple[Any, ...]] = {
    "arguments": ('{"a": 1}', "{}"),
    "parameters": ({"type": "object", "properties": {"a": {}}}, {"type": "object"}),
    "schema": ({"type": "object"}, {"type": "object", "properties": {"a": {"type": "integer"}}}),
    "logit_bias": ({"1": 1},),
    "metadata": ({"a": "x"},),
}
"""Values of fields whose type says too little."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """A route, the official type of what it is sent, and how the server reads that."""

    name: str
    kind: Any
    read: Callable[[Body], Any]
    """What the server makes of a body, as far as it matters; ApiError or pydantic's error where it refuses it."""
    base: Body
    """A body that is right."""
    more: type[BaseModel] | None = None
    """The model that reads it, which may know fields that the official type does not have."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Why nothing is missed where a path, or a field of this name anywhere, is taken and has no effect."""
    remarks: Mapping[str, str] = field(default_factory=dict)
    """What is to be said of fields that are supported, by the ends of their paths."""
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """As `FIXED`, by name or by path."""
    apart: frozenset[str] = frozenset()
    """What stands in the address, not in the body."""
    like: tuple[str, str, str] | None = None
    """Another route, and the beginning of paths here and there: what is done alike is told there only."""
    whole: Callable[[Body, Body], Body] = lambda base, change: base | change
    """The body with a change."""


def plain(kind: Any) -> Any:
    """A type without `Required` and what else stands around it."""
    while get_origin(kind) in WRAPPERS:
        kind = get_args(kind)[0]
    return kind


def variants(kind: Any) -> list[Any]:
    """What a type may be, null aside."""
    kind = plain(kind)
    if get_origin(kind) in (Union, types.UnionType):
        return [one for part in get_args(kind) for one in variants(part)]
    return [] if kind is type(None) else [kind]


def needed(kind: Any) -> bool:
    """Whether an object must have a field of this type."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_origin(kind) is Required


def is_object(kind: Any) -> bool:
    return typing_extensions.is_typeddict(kind)


def entry(kind: Any) -> Any | None:
    """What a list holds; None for what is no list."""
    origin = get_origin(kind)
    listed = isinstance(origin, type) and not issubclass(origin, dict) and hasattr(origin, "__iter__")
    return get_args(kind)[0] if listed and get_args(kind) else None


def hints(kind: Any) -> dict[str, Any]:
    return typing_extensions.get_type_hints(kind, include_extras=True)


def tells_apart(kind: Any) -> bool:
    """Whether a field has one value only, such as the `type` that tells an object from others."""
    found = variants(kind)
    return len(found) == 1 and get_origin(found[0]) is Literal and len(get_args(found[0])) == 1


def choices(kind: Any) -> list[Any]:
    """All values of a type that lists them, alone or as what a list holds."""
    found: list[Any] = []
    for one in variants(kind):
        held = entry(one)
        if get_origin(one) is Literal:
            found += get_args(one)
        elif one is bool:
            found += [True, False]
        elif held is not None and get_origin(plain(held)) is Literal:
            found += [[option] for option in get_args(plain(held))]
    return found


def tag(kind: Any) -> str:
    """What tells an object from the others that may stand in its place."""
    fields = hints(kind)
    name = next((name for name in ("role", "type") if name in fields), None)
    if name is None:
        return ""
    options = [option for part in variants(fields[name]) for option in get_args(part)]
    return f"({options[0]})" if options else ""


def effective(value: Any, unread: dict[str, str]) -> Any:
    """What was read, less the fields of models that are marked as harmless; `unread` has those, with their reasons."""
    if isinstance(value, BaseModel):
        found = {}
        for name, info in type(value).model_fields.items():
            mark = next((mark for mark in info.metadata if isinstance(mark, Harmless)), None)
            if mark is None:
                found[name] = effective(getattr(value, name), unread)
            elif name in value.model_fields_set:
                unread[info.alias or name] = mark.why
        return found
    if isinstance(value, Mapping):
        return {name: effective(one, unread) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [effective(one, unread) for one in value]
    return value


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What became of a body."""

    why: str | None = None
    """Why it is refused."""
    read: str = ""
    unread: Mapping[str, str] = field(default_factory=dict)


class Unexcused(ValueError):
    """A field is ignored, and nobody says why that is harmless."""


class Walk:
    """The rows of one route."""

    def __init__(self, route: Route) -> None:
        self._route = route

    def rows(self) -> list[Row]:
        """One for each field, at any depth; Unexcused for one that is ignored and nobody says why."""
        found: list[Row] = []
        for name, kind in hints(self._route.kind).items():
            if name in self._route.apart:
                continue
            found += self._field(name, kind, name, (), lambda value, name=name: {name: value})
        return list(dict.fromkeys(found))

    def _field(self, name: str, kind: Any, path: str, chain: tuple[Any, ...], put: Any) -> Iterator[Row]:
        options = choices(kind)
        values = options or self._samples(kind, name, path)
        tried = [self._tried(put(value)) for value in values]
        reasons = [one.why for one in tried]
        if all(reasons):
            yield path, REFUSED, reasons[0] or ""
        elif remark := next((words for end, words in self._route.remarks.items() if path.endswith(end)), ""):
            yield path, SUPPORTED, remark
        elif any(reasons) and options and name != "model":
            bad = ", ".join(f"`{json.dumps(option)}`" for option, why in zip(options, reasons, strict=True) if why)
            yield path, SUPPORTED, f"refused: {bad}"
        elif self._matters(path, put, tried, values[0]) or self._holds_any(kind, path, chain, put):
            yield path, SUPPORTED, ""
        else:
            yield path, IGNORED, self._excuse(name, path, tried)
            return  # what it holds is treated alike
        yield from self._held(kind, path, chain, put)

    def _holds_any(self, kind: Any, path: str, chain: tuple[Any, ...], put: Any) -> bool:
        """Whether anything that a field holds is supported."""
        try:
            return any(done == SUPPORTED for _, done, _ in self._held(kind, path, chain, put))
        except Unexcused:
            return False

    def _held(self, kind: Any, path: str, chain: tuple[Any, ...], put: Any) -> Iterator[Row]:
        """The rows of what a field holds."""
        for one in variants(kind):
            held = entry(one)
            for inner in variants(held) if held is not None else [one]:
                if is_object(inner) and inner not in chain:
                    yield from self._object(inner, path, (*chain, inner), put, listed=held is not None)

    def _object(self, kind: Any, path: str, chain: tuple[Any, ...], put: Any, *, listed: bool) -> Iterator[Row]:
        here = f"{path}[]{tag(kind)}" if listed else f"{path}{tag(kind)}"
        least = self._route.fixed[here][0] if here in self._route.fixed else self._least(kind, "")[0]

        def wrap(value: Any) -> Any:
            return put([value] if listed else value)

        if (why := self._tried(wrap(least)).why) is not None:
            if path != here:  # one row says it for all that it holds
                yield here, REFUSED, why
            return
        if here in self._route.notes:
            yield here, IGNORED, self._route.notes[here]
            return
        for name, part in hints(kind).items():
            if tells_apart(part):
                continue

            def with_it(value: Any, name: str = name) -> Any:
                rest = {key: one for key, one in least.items() if key != name}
                return wrap(rest if value is ABSENT else rest | {name: value})

            yield from self._field(name, part, f"{here}.{name}", chain, with_it)

    def _matters(self, path: str, put: Any, tried: list[Tried], first: Any) -> bool:
        """Whether the server reads another thing with a field than without it; where it must be there, with others."""
        if path in self._route.notes:
            return False
        absent = put(ABSENT)
        without = self._tried({} if ABSENT in absent.values() else absent)
        if without.why is not None:
            if any(one.why for one in tried):
                return True  # one value is as good as another only where all are taken
            without = self._tried(put(first))
        return any(one.read != without.read for one in tried if one.why is None)

    def _excuse(self, name: str, path: str, tried: list[Tried]) -> str:
        """Why nobody misses what is ignored; Unexcused where nobody says it."""
        notes = self._route.notes
        why = notes.get(path) or next((one.unread[name] for one in tried if name in one.unread), None)
        if (why := why or notes.get(name)) is None:
            raise Unexcused(f"{self._route.name}: {path} is taken and changes nothing, and nothing says why")
        return why

    def _tried(self, change: Any) -> Tried:
        try:
            unread: dict[str, str] = {}
            read = effective(self._route.read(self._route.whole(self._route.base, change)), unread)
            return Tried(read=repr(read), unread=unread)
        except Invalid as error:
            first = error.errors()[0]
            plain = first["msg"].removeprefix("Value error, ").removesuffix("; leave it out")
            return Tried(why=SHORTER.get(first["type"], plain))
        except ApiError as error:
            return Tried(why=error.message)

    def _samples(self, kind: Any, name: str, path: str) -> list[Any]:
        """Values of a type, as small as they may be: two where there are."""
        for given in (self._route.fixed, FIXED):
            for key in (path, name):
                if key in given:
                    return list(given[key])
        return [value for one in variants(kind) for value in self._least(one, name)]

    def _least(self, kind: Any, name: str) -> list[Any]:
        if get_origin(kind) is Literal:
            return list(get_args(kind)[:2])
        if is_object(kind):
            parts = {key: self._samples(part, key, "") for key, part in hints(kind).items() if needed(part)}
            return [{key: few[number % len(few)] for key, few in parts.items()} for number in (0, 1)]
        if (held := entry(kind)) is not None:
            return [[one] for one in self._samples(held, name, "")]
        return {str: ["x", "y"], int: [1, 2], float: [0.5, 0.25], bool: [True, False]}.get(kind, [{"a": 1}, {}])


ABSENT = object()
