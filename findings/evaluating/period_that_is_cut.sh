#!/usr/bin/env bash
# math-verify 0.9.0: a repeating decimal is read up to the bar and no further. 0.\overline{3} is 0, 0.\dot{3} is 0 and
# 2.\overline{3} is 2, as what is right and as what is answered. Of a task whose right answer is 0.\overline{3} a model
# that says 1/3 is wrong, one that says 0 is right, and 0.\overline{7} is as right as 0.\overline{3}. Without a warning,
# though text that it cannot read gives no number elsewhere, so that one takes for understood what gives one. In the
# same way \lg 100 is 100 and 7 \bmod 4 is 4, while \log 100 and \binom{5}{2} are right. A trainer that rewards by it
# teaches such answers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check math-verify==0.9.0
cat > run.py <<'PY'
from importlib.metadata import version

from math_verify import parse, verify

CASES = {
    r"0.\overline{3}": (r"\frac{1}{3}", "0", r"0.\overline{7}"),
    r"0.\dot{3}": (r"\frac{1}{3}", "0"),
    r"2.\overline{3}": (r"\frac{7}{3}", "2"),
    r"\lg 100": ("2", "100"),
    r"7 \bmod 4": ("3", "4"),
    r"\log 100": ("2", "100"),
    r"\binom{5}{2}": ("10", "5"),
}
for right, answers in CASES.items():
    said = ", ".join(f"{answer} {verify(parse(f'${right}$'), parse(f'${answer}$'))}" for answer in answers)
    print(f"math-verify {version('math-verify')}, right is {right}: {said}", flush=True)
PY
env/bin/python run.py | tee seen
diff <(sed 's/^[^,]*, //' seen) - <<'SEEN'
right is 0.\overline{3}: \frac{1}{3} False, 0 True, 0.\overline{7} True
right is 0.\dot{3}: \frac{1}{3} False, 0 True
right is 2.\overline{3}: \frac{7}{3} False, 2 True
right is \lg 100: 2 False, 100 True
right is 7 \bmod 4: 3 False, 4 True
right is \log 100: 2 True, 100 False
right is \binom{5}{2}: 10 True, 5 False
SEEN
