#!/usr/bin/env bash
# scikit-posthocs 0.17.1: posthoc_mannwhitney(alternative="less") compares every pair of groups once, the one whose name
# comes first in the alphabet against the other, and writes the same p-value on both sides of the diagonal. A table of
# one-sided tests cannot be the same on both sides: read by rows, as the two-sided one is, it says that the good model
# has less loss than the bad one and that the bad one has less than the good one, both with p below a millionth. Called
# by other names, "a" for "z", the same data say neither. p_adjust corrects half of the comparisons for that reason. The
# documentation names the argument and no direction, and there is no warning. SciPy's test, which it calls, tells the
# two apart, and so does SciPy for each pair of groups asked for by itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --no-compile --quiet --disable-pip-version-check scikit-posthocs==0.17.1
cat > run.py <<'PY'
from importlib.metadata import version

import pandas as pd
from scikit_posthocs import posthoc_mannwhitney
from scipy.stats import mannwhitneyu

GOOD = [0.10 + 0.01 * step for step in range(20)]
BAD = [0.50 + 0.01 * step for step in range(20)]


def said(p):
    return "less" if p < 1e-6 else "not less"


def table(good, bad):
    frame = pd.DataFrame({"model": [good] * 20 + [bad] * 20, "loss": GOOD + BAD})
    return posthoc_mannwhitney(frame, val_col="loss", group_col="model", alternative="less")


print(f"scikit-posthocs {version('scikit-posthocs')}")
print(f"SciPy: good is {said(mannwhitneyu(GOOD, BAD, alternative='less').pvalue)} than bad,", end=" ")
print(f"bad is {said(mannwhitneyu(BAD, GOOD, alternative='less').pvalue)} than good")
for good, bad in (("a", "z"), ("z", "a")):
    p = table(good, bad)
    print(f"good is called {good}: good is {said(p.loc[good, bad])} than bad,", end=" ")
    print(f"bad is {said(p.loc[bad, good])} than good")
PY
env/bin/python run.py | tee seen
tail -n +2 seen | diff - <(cat <<'SEEN'
SciPy: good is less than bad, bad is not less than good
good is called a: good is less than bad, bad is less than good
good is called z: good is not less than bad, bad is not less than good
SEEN
)
