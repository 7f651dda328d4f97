#!/usr/bin/env bash
# asteval 1.0.10, by which programs and agents compute with Python that others wrote: x += y is done as x = x + y. What
# is changed in place by Python, a list that another name or a caller holds, a view of an array, so stays as it was: a
# function that adds to the list it is given adds nothing. And what stands to the left is computed twice, once to read
# and once to write: x[s.pop()] += 5 reads one place and writes another, and takes two things off the stack. A return,
# break or continue within try skips its finally. append() and x[0] += 1 work, no error or warning comes, and what the
# interpreter does not know (lambda in a closure, yield, with an error) it refuses, so that one takes programs for run
# as they are written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check asteval==1.0.10 numpy==2.4.6
cat > run.py <<'PY'
from importlib.metadata import version

import numpy
from asteval import Interpreter

RETURN = "result = []\ndef f():\n    try:\n        return 1\n    finally:\n        result.append('closed')\nf()"
CONTINUE = "result = []\nfor i in [1, 2]:\n    try:\n        continue\n    finally:\n        result.append(i)"
PROGRAMS = {
    "list of the caller": "def add(items):\n    items += [2]\nresult = [1]\nadd(result)",
    "append to it": "def add(items):\n    items.append(2)\nresult = [1]\nadd(result)",
    "value of a dictionary": "result = {'a': [1]}\nvalues = result['a']\nvalues += [2]",
    "view of an array": "whole = zeros(3)\nview = whole[:2]\nview += 1\nresult = whole.tolist()",
    "place from a stack": "result = [10, 20, 30]\nplaces = [0, 1]\nresult[places.pop()] += 5",
    "finally after return": RETURN,
    "finally after continue": CONTINUE,
    "finally": "result = []\ntry:\n    result.append(1)\nfinally:\n    result.append('closed')",
}
print(f"asteval {version('asteval')}")
for name, program in PROGRAMS.items():
    interpreter = Interpreter()
    interpreter(program, show_errors=False)
    python = {"zeros": numpy.zeros}
    exec(program, python)
    print(f"{name}: {interpreter.symtable['result']}, Python {python['result']}, errors {len(interpreter.error)}")
PY
env/bin/python run.py | tee seen
tail -n +2 seen | diff - <(cat <<'SEEN'
list of the caller: [1], Python [1, 2], errors 0
append to it: [1, 2], Python [1, 2], errors 0
value of a dictionary: {'a': [1]}, Python {'a': [1, 2]}, errors 0
view of an array: [0.0, 0.0, 0.0], Python [1.0, 1.0, 0.0], errors 0
place from a stack: [25, 20, 30], Python [10, 25, 30], errors 0
finally after return: [], Python ['closed'], errors 0
finally after continue: [], Python [1, 2], errors 0
finally: [1, 'closed'], Python [1, 'closed'], errors 0
SEEN
)
