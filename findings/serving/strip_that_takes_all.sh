#!/usr/bin/env bash
# @huggingface/jinja 0.5.11, which renders chat templates in browsers and Node: strip(), lstrip() and rstrip() do not
# look at what they are to take off and take off white space. The well-known line of thinking models,
# `split('</think>')[-1] .lstrip('\n')`, so also takes the indentation of an answer that begins with code, and
# strip('*') leaves the stars. Lists and dicts with the same content are not equal, -1 % 2 is -1 (templates that ask
# whose turn it is take the other branch), and `capitalize` leaves capitals. No error, no warning: one template and one
# conversation are another prompt than in Python.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check jinja2==3.1.6
npm install --silent --prefix . @huggingface/jinja@0.5.11
cat > cases.json <<'JSON'
[["{{ m.split('</think>')[-1].lstrip('\\n') }}", {"m": "<think>so</think>\n\n    return 1"}],
 ["{{ m.strip('*') }}", {"m": "**yes**"}],
 ["{{ m.strip() }}", {"m": "\n yes "}],
 ["{% if stops == ['a'] %}equal{% else %}another{% endif %}", {"stops": ["a"]}],
 ["{% if (turn - 1) % 2 == 1 %}user{% else %}assistant{% endif %}", {"turn": 0}],
 ["{{ m | capitalize }}", {"m": "HELLO"}]]
JSON
cat > python.py <<'PY'
import json

from jinja2 import Environment

for template, values in json.load(open("cases.json")):
    print(json.dumps(Environment().from_string(template).render(values)))
PY
cat > script.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Template } from "@huggingface/jinja";

for (const [template, values] of JSON.parse(readFileSync("cases.json", "utf8")))
  console.log(JSON.stringify(new Template(template).render(values)));
JS
env/bin/python python.py > one && node script.mjs > other
grep -o '"version": "[0-9.]*"' node_modules/@huggingface/jinja/package.json
paste -d'|' <(sed 's/^.\["//; s/", {.*//' cases.json) one other | sed 's/|\("[^|]*"\)|\("[^|]*"\)$/: Python \1, JavaScript \2/' | tee seen
diff seen - <<'SEEN'
{{ m.split('</think>')[-1].lstrip('\\n') }}: Python "    return 1", JavaScript "return 1"
{{ m.strip('*') }}: Python "yes", JavaScript "**yes**"
{{ m.strip() }}: Python "yes", JavaScript "yes"
{% if stops == ['a'] %}equal{% else %}another{% endif %}: Python "equal", JavaScript "another"
{% if (turn - 1) % 2 == 1 %}user{% else %}assistant{% endif %}: Python "user", JavaScript "assistant"
{{ m | capitalize }}: Python "Hello", JavaScript "HELLO"
SEEN
