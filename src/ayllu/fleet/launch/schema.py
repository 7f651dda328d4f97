"""Check a manifest against the structural schema of a Kubernetes resource (OpenAPI v3, as in a CRD)."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


@cache
def jobset_schema() -> dict[str, Any]:
    """The part of the published JobSet v1alpha2 schema that our manifests use (see `source` in the file)."""
    text = resources.files("ayllu.fleet").joinpath("data", "jobset.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema["openAPIV3Schema"]


def faults(value: Any, schema: dict[str, Any], where: str = "") -> list[str]:
    """What is wrong with `value`: types, required and unknown fields, values that are not allowed. Empty when fine."""
    if schema.get("x-kubernetes-int-or-string"):
        return [] if isinstance(value, (int, str)) and not isinstance(value, bool) else [f"{where}: number or text"]
    kind = schema.get("type")
    if kind and (not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return [f"{where or 'manifest'}: must be {kind}, not {type(value).__name__}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r} is none of {', '.join(map(str, schema['enum']))}")
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            found += faults(item, schema["items"], f"{where}[{index}]")
    if isinstance(value, dict):
        found += _object_faults(value, schema, where)
    return found


def _object_faults(value: dict[str, Any], schema: dict[str, Any], where: str) -> list[str]:
    known, extra = schema.get("properties", {}), schema.get("additionalProperties")
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or not (known or extra)
    found = [f"{where}.{name}: required" for name in schema.get("required", []) if name not in value]
    for name, item in value.items():
        inner = f"{where}.{name}" if where else name
        if name in known:
            found += faults(item, known[name], inner)
        elif isinstance(extra, dict):
            found += faults(item, extra, inner)
        elif not open_ended:
            found.append(f"{inner}: unknown field")
    return found
