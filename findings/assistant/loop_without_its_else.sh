#!/usr/bin/env bash
# smolagents 1.26.0: its LocalPythonExecutor, on which a CodeAgent computes by default, walks over the program's tree by
# itself. What it does not know it mostly refuses. These it takes and does otherwise, without a word: the `else` of a
# loop never runs, a decorator of a function is left out (so `@cache` or `@retry` is not there), a default value is made
# anew at each call (so `memo={}` remembers nothing), a keyword of its own is in **rest too, a lambda of a loop keeps
# the loop's value of that moment, and `total[queue.pop()] += 1` pops twice: it reads one entry and overwrites another.
# The answer looks plausible.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check smolagents==1.26.0
cat > run.py <<'PY'
import contextlib
import io
from importlib.metadata import version

from smolagents.local_python_executor import LocalPythonExecutor

PROGRAMS = {
    "else of a loop": "for n in [4, 6]:\n    if n % 2:\n        print('odd')\n        break\nelse:\n    print('none odd')",
    "decorator": "def twice(f):\n    return lambda: f() * 2\n@twice\ndef three():\n    return 3\nprint(three())",
    "default value": "def seen(n, memo={}):\n    memo[n] = 1\n    return len(memo)\nprint(seen(1), seen(2), seen(3))",
    "keyword": "def call(*, k=1, **rest):\n    return rest\nprint(call(k=2, z=3))",
    "lambda of a loop": "made = [lambda: n for n in [1, 2, 3]]\nprint([f() for f in made])",
    "+= at pop()": "queue, total = ['c', 'b', 'a'], {'a': 0, 'b': 10}\ntotal[queue.pop()] += 1\nprint(total, queue)",
    "plain": "print(sorted({'b': 1, 'a': 2}), [n * n for n in range(4)], 7 // 2)",
}
for name, program in PROGRAMS.items():
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(program, {})
    executor = LocalPythonExecutor(additional_authorized_imports=[])
    executor.send_tools({})
    logs = executor(program).logs
    python, agent = (text.strip() or "nothing" for text in (printed.getvalue(), logs))
    said = f"{agent}, as Python" if python == agent else f"{agent}, where Python has {python}"
    print(f"smolagents {version('smolagents')}, {name}: {said}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(cut -d: -f2- seen) - <<'SEEN'
 nothing, where Python has none odd
 3, where Python has 6
 1 1 1, where Python has 1 2 3
 {'k': 2, 'z': 3}, where Python has {'z': 3}
 [1, 2, 3], where Python has [3, 3, 3]
 {'a': 0, 'b': 1} ['c'], where Python has {'a': 1, 'b': 10} ['c', 'b']
 ['a', 'b'] [0, 1, 4, 9] 3, as Python
SEEN
