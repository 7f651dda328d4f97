#!/usr/bin/env bash
# cel-python 0.5.0, by which gates and policies are written in CEL: a whole number divided by a fraction is a whole number,
# cut. 7 / 2.0 is 3, 1 / 4.0 is 0, 7 % 2.5 is 2, so that of a rule on a share (failures by runs, tokens by second)
# "failed / total == 0" holds with one failure in four. CEL has no arithmetic of two kinds of numbers: with *, - and +,
# and with the fraction to the left of /, the library refuses, so one takes rules for checked; the sum of a fraction and a
# whole number it computes. true == 1 holds, the index -1 of a list is its last (in CEL an error), and string(true) is
# "True", so that string(x) == "true" never holds. No warning. common-expression-language 0.10.0 takes none of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check cel-python==0.5.0 common-expression-language==0.10.0
cat > run.py <<'PY'
from importlib.metadata import version

import cel
import celpy

ROW = {"failed": 1, "total": 4.0, "flag": True, "steps": [1, 2, 3]}
RULES = ["7 / 2.0", "7 % 2.5", "failed / total == 0", "7 * 2.5", "7 - 2.5", "7 + 2.5", "7.5 / 2", "7.5 + 2"]
RULES += ["flag == 1", "steps[-1]", 'flag ? string(flag) : ""']


def by_celpy(rule):
    environment = celpy.Environment()
    context = {name: celpy.json_to_cel(value) for name, value in ROW.items()}
    return environment.program(environment.compile(rule)).evaluate(context)


def told(evaluate, rule):
    try:
        return str(evaluate(rule))
    except (celpy.CELEvalError, TypeError, IndexError, RuntimeError):
        return "refused"


print(f"cel-python {version('cel-python')}, common-expression-language {version('common-expression-language')}")
for rule in RULES:
    print(f"{rule}: {told(by_celpy, rule)}, {told(lambda text: cel.evaluate(text, ROW), rule)}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
tail -n +2 seen | diff - <(cat <<'SEEN'
7 / 2.0: 3, refused
7 % 2.5: 2, refused
failed / total == 0: True, refused
7 * 2.5: refused, refused
7 - 2.5: refused, refused
7 + 2.5: refused, refused
7.5 / 2: refused, refused
7.5 + 2: 9.5, refused
flag == 1: True, False
steps[-1]: 3, refused
flag ? string(flag) : "": True, refused
SEEN
)
