#!/usr/bin/env bash
# outlines-core 0.2.14: a JSON schema of two objects under allOf (a shared part and one's own, as OpenAPI describes
# inheritance) is taken, and what a model may then write is the one object followed by the other: {"a":1}{"b":2}, which
# is no JSON. No object with both keys is allowed. Two limits of a string under allOf give two strings. And properties
# with an anyOf beside them lose the anyOf: what it requires cannot even be written. No error, no warning. It refuses
# other things that it does not know ({"maxLength": 3} under allOf), so that one takes it for checked. llguidance 1.9.1
# allows what the schema says.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check outlines-core==0.2.14 llguidance==1.9.1 jsonschema==4.26.0
cat > run.py <<'PY'
import json
import re
from importlib.metadata import version

from jsonschema import Draft202012Validator
from llguidance import LLMatcher, LLTokenizer
from outlines_core.json_schema import build_regex_from_schema

a, b = ({"type": "object", "properties": {k: {"type": "integer"}}, "required": [k]} for k in "ab")
cases = {
    "allOf of two objects": ({"allOf": [a, b]}, ['{"a":1,"b":2}', '{"a":1}{"b":2}']),
    "allOf of two limits": ({"allOf": [{"type": "string", "minLength": 1}, {"type": "string", "maxLength": 3}]}, ['"abc"', '"abc""abc"']),
    "anyOf beside properties": (a | {"anyOf": [{"properties": b["properties"], "required": ["b"]}]}, ['{"a":1,"b":2}', '{"a":1}']),
}
tokens = LLTokenizer("byte")


def valid(schema, text):
    try:
        return Draft202012Validator(schema).is_valid(json.loads(text))
    except json.JSONDecodeError:
        return False


def allowed(schema, text):
    matcher, ids = LLMatcher(tokens, LLMatcher.grammar_from_json_schema(json.dumps(schema))), tokens.tokenize_str(text)
    return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()


for name, (schema, texts) in cases.items():
    pattern = re.compile(build_regex_from_schema(json.dumps(schema)))
    for text in texts:
        print(f"outlines-core {version('outlines-core')}, {name}, {text}: jsonschema {valid(schema, text)}, "
              f"outlines-core {pattern.fullmatch(text) is not None}, llguidance {allowed(schema, text)}")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^outlines-core [0-9.]*, //' seen) - <<'SEEN'
allOf of two objects, {"a":1,"b":2}: jsonschema True, outlines-core False, llguidance True
allOf of two objects, {"a":1}{"b":2}: jsonschema False, outlines-core True, llguidance False
allOf of two limits, "abc": jsonschema True, outlines-core False, llguidance True
allOf of two limits, "abc""abc": jsonschema False, outlines-core True, llguidance False
anyOf beside properties, {"a":1,"b":2}: jsonschema True, outlines-core False, llguidance True
anyOf beside properties, {"a":1}: jsonschema False, outlines-core True, llguidance False
SEEN
