#!/usr/bin/env bash
# krippendorff 0.9.0: alpha() of grades in small whole numbers, np.uint8 as Parquet, Arrow and tables of grades keep them.
# The distance of two grades is computed in that type before it becomes a float: 10 less 90 is 176, so that near grades
# are far and far ones near, depending on which of the two is asked for first. Judges who agree (0.98 by the same numbers
# as int64 or float) come out as worse than chance, by "interval", which is the default, and by "ratio"; int8 holds the
# difference and not the sum that "ratio" divides by. "nominal" and "ordinal" are right, and no warning comes. The
# argument dtype is documented as the type of the computation and is float64 already.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check krippendorff==0.9.0 numpy==2.4.6
cat > run.py <<'PY'
from importlib.metadata import version

import krippendorff
import numpy as np

GRADES = {
    "of 100": [[10, 20, 30, 90, 70, 100], [12, 20, 35, 80, 75, 90]],
    "of 5": [[1, 2, 3, 5, 2, 1, 4], [1, 2, 4, 5, 2, 3, 4]],
}
print(f"krippendorff {version('krippendorff')}, numpy {np.__version__}")
for name, grades in GRADES.items():
    for kind in (np.float64, np.int64, np.uint8, np.int8):
        ratings = np.array(grades, dtype=kind)
        levels = ("nominal", "ordinal", "interval", "ratio")
        alphas = [krippendorff.alpha(ratings, level_of_measurement=level, dtype=np.float64) for level in levels]
        told = ", ".join(f"{level} {alpha:.3f}" for level, alpha in zip(levels, alphas, strict=True))
        print(f"grades {name} as {kind.__name__}: {told}")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
[ ! -s errors ]
tail -n +2 seen | diff - <(cat <<'SEEN'
grades of 100 as float64: nominal 0.141, ordinal 0.952, interval 0.982, ratio 0.985
grades of 100 as int64: nominal 0.141, ordinal 0.952, interval 0.982, ratio 0.985
grades of 100 as uint8: nominal 0.141, ordinal 0.952, interval -0.089, ratio -1.183
grades of 100 as int8: nominal 0.141, ordinal 0.952, interval 0.982, ratio 0.964
grades of 5 as float64: nominal 0.662, ordinal 0.793, interval 0.824, ratio 0.714
grades of 5 as int64: nominal 0.662, ordinal 0.793, interval 0.824, ratio 0.714
grades of 5 as uint8: nominal 0.662, ordinal 0.793, interval 0.661, ratio 0.675
grades of 5 as int8: nominal 0.662, ordinal 0.793, interval 0.824, ratio 0.714
SEEN
)
