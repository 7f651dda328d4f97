#!/usr/bin/env bash
# openresponses-types 2.4.0 takes a response that was asked for JSON of a schema only if it hides the schema: the field
# `text.format.schema` of its JsonSchemaResponseFormat may be null and nothing else, where OpenAI's API repeats what was asked.
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
python3 -m venv own
own/bin/python -m pip install --quiet --disable-pip-version-check openresponses-types==2.4.0 openai==3.57.0
own/bin/python - <<'PYTHON'
from importlib.metadata import version

from openai.types.responses import ResponseFormatTextJSONSchemaConfig
from openresponses_types.types import JsonSchemaResponseFormat
from pydantic import ValidationError

form = {"type": "json_schema", "name": "a", "description": None, "strict": True}
found = {}
for name, schema in {"an object": {"type": "object"}, "null": None}.items():
    for kind in (JsonSchemaResponseFormat, ResponseFormatTextJSONSchemaConfig):
        package = kind.__module__.partition(".")[0]
        try:
            kind.model_validate({**form, "schema": schema})
            found[package, name] = True
        except ValidationError:
            found[package, name] = False
for (package, name), taken in found.items():
    package_name = package.replace("_", "-")
    print(f"{package_name} {version(package_name)}: a schema that is {name} is {'taken' if taken else 'refused'}")
# Seen: each of the two takes what the other refuses.
assert found == {
    ("openresponses_types", "an object"): False,
    ("openai", "an object"): True,
    ("openresponses_types", "null"): True,
    ("openai", "null"): False,
}
PYTHON
