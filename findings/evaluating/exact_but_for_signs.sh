#!/usr/bin/env bash
# inspect-ai 0.3.285: the scorer exact() is less and more than exact. Signs and articles go out of answer and target, as in
# question answering over texts: "5" is right where -5 was asked for, "12" where 1/2 was, "1030" where 10:30 was. And a
# target of which so nothing is left can never be found right, not by itself: of a task of letters every item whose right
# answer is A counts as wrong (B to D are as they should be), as does each whose answer is "<=". No warning comes, and
# f1() gives the same; match() knows the letter A and the fraction, but takes 5 for -5 too unless it is told numeric.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check inspect-ai==0.3.285
cat > run.py <<'PY'
import asyncio
from functools import partial
from importlib.metadata import version

from inspect_ai.model import ModelName, ModelOutput
from inspect_ai.scorer import Target, exact, f1, match
from inspect_ai.solver import TaskState

made = {"exact": exact, "f1": f1, "match": match, "match numeric": partial(match, numeric=True)}


async def score(scorer, target, answer):
    output = ModelOutput.from_content("mock", answer)
    state = TaskState(ModelName("mock/mock"), 1, 1, "which?", [], output=output)
    return (await scorer(state, Target(target))).value in ("C", 1.0)


async def main():
    for pair in (("-5", "5"), ("1/2", "12"), ("10:30", "1030"), ("A", "A"), ("B", "B"), ("<=", "<=")):
        right = [name for name, make in made.items() if await score(make(), *pair)]
        print(f"inspect-ai {version('inspect-ai')}, target {pair[0]}, answer {pair[1]}, right by {right}", flush=True)


asyncio.run(main())
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
for pair in "-5, answer 5" "1/2, answer 12" "10:30, answer 1030" "B, answer B"; do grep -q "target $pair, right by .'exact', 'f1'" seen; done
for pair in "A, answer A" "<=, answer <="; do grep "target $pair, right by" seen | grep -qv "'exact'\|'f1'"; done
