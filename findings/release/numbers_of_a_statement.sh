#!/usr/bin/env bash
# in-toto-attestation 0.9.3: what a Statement says of a build or a model (its predicate, JSON) goes through a protobuf
# Struct, which knows no whole numbers. A seed of 64 bits, a count of tokens or a size beyond 2^53 is another number in
# what is signed, 5 is 5.0, and keys may stand in another order, so that the bytes and their digest are not those of the
# file it was read from. validate() finds nothing. Numbers as strings come through.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check in-toto-attestation==0.9.3 protobuf==7.36.2
cat > run.py <<'PY'
import json
from importlib.metadata import version

from google.protobuf.json_format import MessageToJson
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement

said = {"seed": 9007199254740993, "tokens": 15_000_000_000_001, "steps": 5, "as a string": "9007199254740993"}
model = ResourceDescriptor(name="model.safetensors", digest={"sha256": "ab" * 32})
statement = Statement([model.pb], "https://example.org/training/v1", said)
statement.validate()
written = json.loads(MessageToJson(statement.pb))["predicate"]
for key, value in said.items():
    print(f"in-toto-attestation {version('in-toto-attestation')}, {key} {value!r}: written as {written[key]!r}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(cut -d, -f2- seen) - <<'SEEN'
 seed 9007199254740993: written as 9007199254740992.0
 tokens 15000000000001: written as 15000000000001.0
 steps 5: written as 5.0
 as a string '9007199254740993': written as '9007199254740993'
SEEN
