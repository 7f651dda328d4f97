#!/usr/bin/env bash
# lm-format-enforcer 0.11.3: by a JSON schema with an array of no stated length a model can write 20 elements and not one
# more: after the twentieth the comma is forbidden. A list of names, lines of an invoice or found places so ends there,
# is valid JSON, valid by the schema, and looks whole. Nothing is said; objects and strings have no such end, and with
# "maxItems": 100 the array goes on, so that the one schema which says less allows less. A number's own minimum and
# maximum, on the other hand, are not kept: of an integer from 0 to 10 it allows 99. The limit is a variable of the environment.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check lm-format-enforcer==0.11.3 jsonschema==4.26.0
cat > run.py <<'PY'
import json
from importlib.metadata import version

import jsonschema
from lmformatenforcer import JsonSchemaParser


def allowed(schema, value):
    parser = JsonSchemaParser(schema)
    for sign in json.dumps(value):
        if sign not in parser.get_allowed_characters():
            return False
        parser = parser.add_character(sign)
    return parser.can_end()


numbers = {"type": "array", "items": {"type": "integer"}}
small = {"type": "integer", "minimum": 0, "maximum": 10}
cases = {
    "20 elements": (numbers, [0] * 20), "21 elements": (numbers, [0] * 21),
    "21 elements of at most 100": ({**numbers, "maxItems": 100}, [0] * 21),
    "99 for 0 to 10": (small, 99),
}
for name, (schema, value) in cases.items():
    valid = jsonschema.Draft202012Validator(schema).is_valid(value)
    print(f"lm-format-enforcer {version('lm-format-enforcer')}, {name}: valid {valid}, can be written {allowed(schema, value)}", flush=True)
PY
env/bin/python run.py | tee seen
diff <(sed 's/^[^,]*, //' seen) - <<'SEEN'
20 elements: valid True, can be written True
21 elements: valid True, can be written False
21 elements of at most 100: valid True, can be written True
99 for 0 to 10: valid False, can be written True
SEEN
