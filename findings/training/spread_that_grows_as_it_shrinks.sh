#!/usr/bin/env bash
# ConfigSpace 1.2.2, in which SMAC and others describe what is searched: a Normal on a logarithmic scale, as one writes a
# guess at a learning rate, has no spread that belongs to its sigma. What is used is the size of log(lower + sigma),
# which is no width: with sigma 1 all draws are the mean to five digits, so that nothing is searched at all; 0.1 and 10
# are the same distribution, 0.5 and 2 too, and below 1 a smaller sigma spreads wider, up to the whole range. So
# it is whatever one takes sigma for, in the value's own units, in factors of e or of ten. Nothing is said; the docstring
# calls it the standard deviation. Without log it is what it says, and with log the Uniform is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check ConfigSpace==1.2.2 numpy==2.4.6 scipy==1.17.1
cat > run.py <<'PY'
from importlib.metadata import version

import numpy as np
from ConfigSpace import Float, Normal

print(f"ConfigSpace {version('ConfigSpace')}")


def middle(log, sigma):
    rate = Float("rate", (1e-5, 1e-1), log=log, distribution=Normal(1e-3, sigma))
    low, high = np.quantile(rate.sample_value(1000, seed=np.random.RandomState(0)), [0.16, 0.84])
    print(f"log={log}, mean 0.001, sigma {sigma}: two thirds of the draws from {low:.6f} to {high:.6f}", flush=True)
    return high / low if log else high - low


wide = {sigma: middle(True, sigma) for sigma in (1e-3, 1e-2, 0.1, 0.5, 1.0, 2.0, 10.0)}
plain = {sigma: middle(False, sigma) for sigma in (1e-4, 2e-4)}
assert wide[1e-3] > wide[1e-2] > wide[0.1] > wide[0.5] > 4
assert wide[1.0] < 1.0001
assert np.isclose(wide[0.1], wide[10.0], rtol=0.01) and np.isclose(wide[0.5], wide[2.0], rtol=0.01)
assert np.isclose(plain[2e-4], 2 * plain[1e-4], rtol=0.05) and np.isclose(plain[1e-4], 2e-4, rtol=0.05)
print("narrower sigmas spread wider, 1 not at all; without log the spread is sigma")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
grep -qx 'narrower sigmas spread wider, 1 not at all; without log the spread is sigma' seen
