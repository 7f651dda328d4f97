"""JSON schemas before llguidance reads them: some are said in words that it has, some refused with their place.

`propertyNames` is what pydantic writes for `dict[Literal["a", "b"], int]`. Where it lists names, or gives one pattern
for them, `properties` and `patternProperties` say exactly the same; else it is refused with its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

ONE = (
    *("items", "additionalItems", "contains", "unevaluatedItems", "additionalProperties", "propertyNames"),
    *("unevaluatedProperties", "not", "if", "then", "else", "contentSchema"),
)
"""Keywords whose value is a schema; `items` was a list of them once."""
SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
NAMED = ("properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions")
NO_RULE = frozenset(
    [
        *("$ref", "$schema", "$id", "id", "$anchor", "$comment", "$defs", "definitions", "title", "description"),
        *("default", "examples", "deprecated", "readOnly", "writeOnly"),
    ]
)
"""Keywords that allow or refuse nothing."""
REWRITTEN = ("properties", "additionalProperties", "patternProperties", "propertyNames")
"""Keywords that say something else behind the rewriting, so that nothing may refer to what is in them."""
MOST_LEVELS = 1000
"""Of schemas within schemas, by `$ref` too: llguidance recurses into each."""
Place = tuple[str, ...]


def enforceable(root: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without `propertyNames`; ValueError where that cannot be, and for a `$ref` that leads to itself."""
    place = _loop(root)
    if place is not None:
        raise ValueError(
            f"$ref at {_said(place)} leads back to itself, so that nothing could be written: refer to a schema from "
            "within its properties or items"
        )
    if _deepest(root) > MOST_LEVELS:
        raise ValueError(
            f"the schema's $ref may lead through more than {MOST_LEVELS:,} levels one below another; give fewer"
        )
    found: dict[str, Any] = _without_names(root, root, ())
    return found


def circular(root: Mapping[str, Any]) -> str | None:
    """Why a schema that llguidance calls circular is one: the place of a `$ref` that has rules beside it."""
    for place, node in _nodes(root):
        beside = sorted(node.keys() - NO_RULE)
        if "$ref" in node and beside:
            target = _target(node, root)
            if isinstance(target, Mapping) and any(below is node for below in _reached(target, root)):
                return (
                    f"$ref at {_said(place)} leads to a schema that holds it, which cannot be enforced with "
                    f"{', '.join(beside)} beside it; leave one of them out"
                )
    return None


def _without_names(node: Any, root: Mapping[str, Any], place: Place) -> Any:
    if not isinstance(node, Mapping):
        return node
    made = dict(node)
    for key, below in _below(node):
        inner = _without_names(below, root, (*place, *key))
        if len(key) == 1:
            made[key[0]] = inner
        else:
            held = made[key[0]]
            made[key[0]] = {**held, key[1]: inner} if isinstance(held, Mapping) else _put(held, int(key[1]), inner)
    return _named(made, root, place) if "propertyNames" in made else made


def _put(held: Sequence[Any], number: int, inner: Any) -> list[Any]:
    return [*held[:number], inner, *held[number + 1 :]]


def _named(node: dict[str, Any], root: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """The same rule in other keywords."""
    names = node.pop("propertyNames")
    while isinstance(names, Mapping) and not names.keys() - NO_RULE and (target := _target(names, root)) is not None:
        names = target
    rules = {key: value for key, value in names.items() if key not in NO_RULE} if isinstance(names, Mapping) else {}
    if rules.get("type") == "string":
        del rules["type"]
    if names is not False and not rules:
        return node
    beside: list[str] = [key for key in ("patternProperties", "unevaluatedProperties") if key in node]
    values, declared = node.get("additionalProperties", True), node.get("properties", {})
    rewritten = tuple("/".join(("#", *place, key)) for key in REWRITTEN)
    beside += [one for one in _references(root) if one.startswith(rewritten)]
    if not beside and (names is False or rules.keys() <= {"enum", "const"}):
        allowed = [] if names is False else _common(rules)
        properties = {name: declared.get(name, values) for name in allowed}
        return {**node, "properties": properties, "additionalProperties": False}
    if not beside and not declared and rules.keys() == {"pattern"}:
        return {**node, "patternProperties": {rules["pattern"]: values}, "additionalProperties": False}
    reason = f"beside {', '.join(beside)}" if beside else f"with {', '.join(sorted(rules))}"
    raise ValueError(
        f"propertyNames at {_said(place)} cannot be enforced {reason}; list the names by enum, or declare them as "
        "properties"
    )


def _common(rules: Mapping[str, Any]) -> list[str]:
    """Names that `enum` and `const` allow, in their order."""
    lists = [rules["enum"]] if "enum" in rules else []
    lists += [[rules["const"]]] if "const" in rules else []
    return [name for name in dict.fromkeys(filter(_is_text, lists[0])) if all(name in one for one in lists)]


def _is_text(name: Any) -> bool:
    return isinstance(name, str)


def _below(node: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    """The schemas right below one, each with the steps to it."""
    for key, value in node.items():
        if key in NAMED and isinstance(value, Mapping):
            yield from (((key, name), below) for name, below in value.items())
        elif key in SEVERAL and isinstance(value, list):
            yield from (((key, str(number)), below) for number, below in enumerate(value))
        elif key in ONE:
            yield (key,), value


def _nodes(root: Mapping[str, Any], place: Place = ()) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Every schema that is an object, with its place."""
    yield place, root
    for key, below in _below(root):
        if isinstance(below, Mapping):
            yield from _nodes(below, (*place, *key))


def _references(root: Mapping[str, Any]) -> list[str]:
    return [node["$ref"] for _, node in _nodes(root) if isinstance(node.get("$ref"), str)]


def _target(node: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """What the `$ref` of a schema names within the same document; None where it has none such."""
    reference = node.get("$ref")
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    found: Any = root
    for step in reference.split("/")[1:]:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(name)] if isinstance(found, list) else found[name]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return found


def _deepest(root: Mapping[str, Any]) -> int:
    """No way from schema to schema is longer: the heights of the whole and of all that is referred to, added up."""
    found = {id(root): root}
    for _, node in _nodes(root):
        target = _target(node, root)
        if isinstance(target, Mapping):
            found[id(target)] = target
    return sum(max(len(place) for place, _ in _nodes(one)) + 1 for one in found.values())


def _loop(root: Mapping[str, Any]) -> Place | None:
    """Where a `$ref` is that is met again by steps that go on with the same value: those of `$ref` and `allOf`."""
    done: set[int] = set()
    for _, start in _nodes(root):
        if id(start) in done:
            continue
        path = {id(start): _steps(start, root)}
        while path:
            last = next(reversed(path))
            following = next(path[last], None)
            if following is None:
                done.add(last)
                del path[last]
            elif id(following) in path:
                return next((place for place, node in _nodes(root) if id(node) == last), ())
            elif id(following) not in done:
                path[id(following)] = _steps(following, root)
    return None


def _steps(node: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    held = node.get("allOf")
    for one in (_target(node, root), *(held if isinstance(held, list) else ())):
        if isinstance(one, Mapping):
            yield one


def _reached(node: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All schemas that can be come to from one."""
    found: dict[int, Mapping[str, Any]] = {}
    waiting: list[Any] = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping) and id(one) not in found:
            found[id(one)] = one
            waiting += [_target(one, root), *(below for _, below in _below(one))]
    return list(found.values())


def _said(place: Place) -> str:
    return "/".join(place)[:200] or "its root"
