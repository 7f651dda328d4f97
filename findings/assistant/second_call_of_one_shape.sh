#!/usr/bin/env bash
# json-repair 0.64.6, with which agents read what a model wrote: a text that holds several JSON values gives a list of
# them, unless two that follow each other have the same shape: then only the later one is kept. Calls of one tool,
# blocks of ```json and lines of JSONL all have one shape, so of two calls the first is lost, and which ones depends on
# whether keys differ; with a comma between them both are there. A number written with spaces keeps its first group: 10
# 000 becomes 10.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check json-repair==0.64.6
cat > run.py <<'PY'
from importlib.metadata import version

import json_repair

lima, cuzco = ('{"name": "weather", "arguments": {"city": "%s"}}' % city for city in ("Lima", "Cuzco"))
named = '{"name": "weather", "id": 2, "arguments": {"city": "Cuzco"}}'
TEXTS = {
    "two lines": f"{lima}\n{cuzco}",
    "two lines, other keys": f"{lima}\n{named}",
    "a comma between": f"{lima}, {cuzco}",
    "words between": f"First {lima} and then {cuzco}.",
    "two blocks": f"```json\n{lima}\n```\n```json\n{cuzco}\n```",
}
print("json-repair", version("json-repair"))
for name, text in TEXTS.items():
    read = json_repair.loads(text)
    cities = [call["arguments"]["city"] for call in (read if isinstance(read, list) else [read])]
    print(f"{name}: {type(read).__name__} with {' and '.join(cities)}", flush=True)
for text in ('{"id": 1}\n{"id": 2}\n{"id": 3}', '{"id": 1}\n{"id": 2, "end": true}', '{"paid": 10 000, "to": "Ana"}'):
    print(f"{text!r}: {json_repair.loads(text)}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(tail -n +2 seen) - <<'SEEN'
two lines: dict with Cuzco
two lines, other keys: list with Lima and Cuzco
a comma between: list with Lima and Cuzco
words between: dict with Cuzco
two blocks: dict with Cuzco
'{"id": 1}\n{"id": 2}\n{"id": 3}': {'id': 3}
'{"id": 1}\n{"id": 2, "end": true}': [{'id': 1}, {'id': 2, 'end': True}]
'{"paid": 10 000, "to": "Ana"}': {'paid': 10, 'to': 'Ana'}
SEEN
