#!/usr/bin/env bash
# anthropic 2.14.0: messages.parse(output_format=Model) sends another schema than the model's own. A field `dict[str, int]`
# becomes an object that may have no key at all, so that a server which keeps to the schema can only answer {}, which
# the model takes: every answer parses and the field is empty, always. Of a tuple nothing is left but "array", so that an
# answer may parse or not. No warning comes; a list of pairs as small models of their own survives.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check anthropic==2.14.0 pydantic==2.14.3 jsonschema==4.26.0
cat > run.py <<'PY'
import json
import warnings
from importlib.metadata import version

import httpx2
from anthropic import Anthropic
from jsonschema import Draft202012Validator
from pydantic import BaseModel

warnings.simplefilter("error")
sent = []


class Words(BaseModel):
    counts: dict[str, int]
    span: tuple[int, int]


def answered(request):
    sent.append(json.loads(request.content))
    block = {"type": "text", "text": json.dumps({"counts": {}, "span": [0, 1]})}
    answer = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [block]}
    answer |= {"stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
    return httpx2.Response(200, json=answer)


client = Anthropic(api_key="k", http_client=httpx2.Client(transport=httpx2.MockTransport(answered)))
asked = [{"role": "user", "content": "Count."}]
parsed = client.messages.parse(model="m", max_tokens=64, messages=asked, output_format=Words).parsed_output
schema = sent[0]["output_config"]["format"]["schema"]
for counts, span in (({}, [0, 1]), ({"a": 1}, [0, 1]), ({}, ["x"])):
    answer = {"counts": counts, "span": span}
    by = {"the schema sent": schema, "the model's own": Words.model_json_schema()}
    takes = [name for name, rules in by.items() if Draft202012Validator(rules).is_valid(answer)]
    print(f"anthropic {version('anthropic')}, {json.dumps(answer)} is taken by: {', '.join(takes)}", flush=True)
assert parsed == Words(counts={}, span=(0, 1))
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
grep -q '{}, "span": \[0, 1\]} is taken by: the schema sent, the model' seen
grep -q '{"a": 1}, "span": \[0, 1\]} is taken by: the model' seen && grep -q '\["x"\]} is taken by: the schema sent$' seen
