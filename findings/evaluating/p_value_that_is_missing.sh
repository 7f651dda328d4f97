#!/usr/bin/env bash
# statsmodels 0.15.0: multipletests() on p-values of which one is NaN (a comparison of two equal lists, a suite without
# items). Neither is it refused nor left out. By the methods of false discovery every corrected value becomes NaN while
# the verdicts go on, with another number of tests, so that values and verdicts of one call contradict each other; by
# Holm's and Bonferroni's the NaN counts as a test, and what was significant without it is so no more. No warning comes.
# SciPy's false_discovery_control() refuses the same list.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check statsmodels==0.15.0 scipy==1.17.1
cat > run.py <<'PY'
import warnings

import numpy as np
import scipy
import statsmodels
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import multipletests

print(f"statsmodels {statsmodels.__version__}, scipy {scipy.__version__}")
for p in ([0.01, 0.02, 0.04], [0.01, 0.02, np.nan, 0.04]):
    for method in ("fdr_bh", "holm"):
        with warnings.catch_warnings(record=True) as warned:
            verdicts, corrected = multipletests(p, method=method)[:2]
        print(f"{p} by {method}: {corrected.round(3).tolist()}, significant {verdicts.tolist()}, {len(warned)} warnings")
try:
    print(false_discovery_control(p))
except ValueError as error:
    print(f"SciPy: {error}")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(tail -n +2 seen) - <<'SEEN'
[0.01, 0.02, 0.04] by fdr_bh: [0.03, 0.03, 0.04], significant [True, True, True], 0 warnings
[0.01, 0.02, 0.04] by holm: [0.03, 0.04, 0.04], significant [True, True, True], 0 warnings
[0.01, 0.02, nan, 0.04] by fdr_bh: [nan, nan, nan, nan], significant [True, True, False, False], 0 warnings
[0.01, 0.02, nan, 0.04] by holm: [0.04, 0.06, nan, 0.08], significant [True, False, False, False], 0 warnings
SciPy: `ps` must include only numbers between 0 and 1.
SEEN
