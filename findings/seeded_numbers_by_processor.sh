#!/usr/bin/env bash
# numpy 2.4: exp, log and ** of the same float64 numbers differ in the last bit between processors. Where there is AVX-512
# (numpy calls it X86_V4) other code runs than where there is AVX2, and neither is told by seed, version or dtype. What
# numpy.random draws is the same on both; a seeded simulation that takes a logarithm of it is not. Python's math is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6
cat > run.py <<'PY'
import hashlib
import math

import numpy as np
from numpy._core._multiarray_umath import __cpu_features__ as has

x = np.random.default_rng(0).random(100_000) + 0.5
made = {
    "random": x,
    "log": np.log(x),
    "exp": np.exp(x),
    "power 0.7": x**0.7,
    "math.log": np.array([math.log(value) for value in x]),
}
told = ", ".join(f"{name} {hashlib.sha256(values.tobytes()).hexdigest()[:8]}" for name, values in made.items())
print(f"numpy {np.__version__}, AVX-512 code {'used' if has['X86_V4'] else 'not used'}: {told}")
PY
env/bin/python run.py | tee wide
grep -q "code used" wide || { echo "this processor has no AVX-512, so that only one of the two can be seen"; exit 0; }
NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR" env/bin/python run.py | tee narrow
of() { grep -o "$2 [0-9a-f]\{8\}" "$1" | tail -1; }
for name in random math.log; do [ "$(of wide "$name")" = "$(of narrow "$name")" ]; done
for name in " log" exp "power 0.7"; do [ "$(of wide "$name")" != "$(of narrow "$name")" ]; done
echo "the same numbers drawn, the same math.log; other log, exp and power"
