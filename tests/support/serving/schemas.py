"""Small JSON schemas of every kind that can be enforced, whose texts are short."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Schemas = st.SearchStrategy[dict[str, Any]]
NAMES = st.sampled_from(["a", "b", "ab", "é", 'q"', "s/t"])


def _number(kind: str) -> Schemas:
    bounds = st.fixed_dictionaries({"minimum": st.integers(-20, 5), "maximum": st.integers(5, 30)})
    steps = st.fixed_dictionaries({}, optional={"multipleOf": st.sampled_from([1, 2, 5])})
    return st.builds(lambda a, b: {"type": kind, **a, **(b if kind == "integer" else {})}, bounds, steps)


LEAVES: Schemas = st.one_of(
    _number("integer"),
    st.just({"type": ["boolean", "null"]}),
    st.builds(
        lambda least, more: {"type": "string", "minLength": least, "maxLength": least + more},
        st.integers(0, 2),
        st.integers(0, 3),
    ),
    st.sampled_from(["^[a-c]{1,3}$", "^(x|y)$", r"^\d{2}$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
    st.sampled_from(["date", "ipv4", "uuid"]).map(lambda form: {"type": "string", "format": form}),
    st.lists(st.sampled_from([1, 2.5, "a", None, True, {"k": [1]}]), min_size=1, max_size=3).map(
        lambda all: {"enum": all}
    ),
)


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    known = [name for name in properties if name in required]
    return {"type": "object", "properties": properties, "required": known, "additionalProperties": False}


def _larger(inner: Schemas) -> Schemas:
    return st.one_of(
        st.builds(_object, st.dictionaries(NAMES, inner, max_size=3), st.lists(NAMES, max_size=3)),
        st.builds(
            lambda items, least, more: {"type": "array", "items": items, "minItems": least, "maxItems": least + more},
            inner,
            st.integers(0, 2),
            st.integers(0, 1),
        ),
        st.lists(inner, min_size=1, max_size=2).map(lambda each: {"anyOf": each}),
    )


def _by_reference(schema: dict[str, Any]) -> dict[str, Any]:
    return {"$ref": "#/$defs/one", "$defs": {"one": schema}}


PLAIN: Schemas = st.recursive(LEAVES, _larger, max_leaves=4)
SCHEMAS: Schemas = st.one_of(PLAIN, PLAIN.map(_by_reference))
