#!/usr/bin/env bash
# math-verify 0.9.0, by which answers to questions of mathematics and physics are rewarded: two numbers are equal when
# they are so to six places behind the point (with a power of ten in them: to fifteen), however small they are. An
# electron's mass so is a right answer to the question for its charge, the charge of the other sign is one, and 0.0 is
# one too, while of large numbers every digit must be right. A trainer that rewards by it pays for any tiny number.
# float_rounding=30 helps only for numbers that are written out, numeric_precision=60 for those with a power of ten.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check math-verify==0.9.0 latex2sympy2-extended==1.11.0
cat > run.py <<'PY'
from importlib.metadata import version

from math_verify import parse, verify

pairs = [
    (r"1.602 \times 10^{-19}", r"9.109 \times 10^{-31}"),
    (r"1.602 \times 10^{-19}", r"-1.602 \times 10^{-19}"),
    (r"1.602 \times 10^{-19}", "0.0"),
    ("0.00000042", "0.00000013"),
    (r"1.602 \times 10^{-3}", r"1.603 \times 10^{-3}"),
    (r"6.022 \times 10^{23}", r"6.023 \times 10^{23}"),
    ("0.42", "0.43"),
]
for gold, answer in pairs:
    both = parse(f"${gold}$"), parse(rf"The answer is $\boxed{{{answer}}}$.")
    assert all(both)
    by = {"defaults": {}, "float_rounding 30": {"float_rounding": 30}, "numeric_precision 60": {"numeric_precision": 60}}
    right = [name for name, said in by.items() if verify(*both, **said)]
    print(f"math-verify {version('math-verify')}, {answer} for {gold}: right by {right}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
[ "$(grep -c "right by .'defaults'" seen)" = 4 ] && [ "$(grep -c 'right by \[\]' seen)" = 3 ]
[ "$(grep -c "'defaults', 'float_rounding 30'\]" seen)" = 2 ] && [ "$(grep -c "'defaults', 'numeric_precision 60'\]" seen)" = 2 ]
