"""Manifests for schedulers that read YAML: written so that every reader sees the same, and checked against a schema."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any

import yaml

PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
YAML_1_1_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


class _Dumper(yaml.SafeDumper):
    """Quotes every string but plain words, for readers disagree on the rest.

    PyYAML alone leaves `y`, `1e3`, `089` and `0o17` bare: readers of YAML 1.1 take the first for a boolean, and readers
    of YAML 1.2 (Kubernetes, SkyPilot's ruamel) the others for numbers.
    """

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style: str | None = '"'
    if _is_block(text):
        style = "|"
    elif PLAIN.fullmatch(text) and text.lower() not in YAML_1_1_WORDS:
        style = None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _is_block(text: str) -> bool:
    """Whether the text has several lines and can stand as a block without losing a blank."""
    lines = text.split("\n")
    printable = all(line.isprintable() for line in lines)
    return len(lines) > 2 and printable and lines[0][:1] not in ("", " ") and not text.endswith("\n\n")


_Dumper.add_representer(str, _string)


def dump(manifest: dict[str, Any]) -> str:
    """`manifest` as a YAML document: keys in their order, no line folded."""
    return yaml.dump(
        manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=float("inf")
    )


@cache
def jobset_schema() -> dict[str, Any]:
    """The published JobSet v1alpha2 schema, whole but for its descriptions (see `source` in the file)."""
    text = resources.files("ayllu.fleet").joinpath("data", "jobset.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema["openAPIV3Schema"]


def faults(manifest: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """What is wrong with `manifest` by the `schema` of a Kubernetes resource, each with its place; empty when fine."""
    from jsonschema import Draft202012Validator

    found = Draft202012Validator(strict(schema)).iter_errors(manifest)
    return [f"{error.json_path}: {error.message}" for error in sorted(found, key=lambda error: error.json_path)]


def strict(schema: Any) -> Any:
    """A structural schema (OpenAPI v3, as in a CRD) as JSON Schema that refuses unknown fields, as the API server does
    with `--validate=strict`."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {name: strict(value) for name, value in schema.items()}
    # A field may itself be called `properties`; only a schema's own has a mapping of schemas and no type beside it.
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        open_ended = schema.get("x-kubernetes-preserve-unknown-fields", False)
        made.setdefault("additionalProperties", open_ended)
    return made
