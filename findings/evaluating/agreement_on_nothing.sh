#!/usr/bin/env bash
# statsmodels 0.15.0: Fleiss' kappa of raters, as aggregate_raters() and fleiss_kappa() give it together. A grade that is
# missing (NaN: a judge's answer that could not be parsed, an item that a rater did not reach) is a category of its own,
# named nan. Where raters lack a grade on the same items, as judges do whose prompt was too long, that counts as perfect
# agreement: below 0.11 becomes 0.56 by three items that nobody graded at all, and 0.19 by three that one rater did. No
# warning; krippendorff 0.9.0 leaves missing grades out, and fleiss_kappa() of a table whose rows have different sums
# raises, so that one takes missing grades for a thing that it would refuse.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check statsmodels==0.15.0 krippendorff==0.9.0 numpy==2.3.5 pandas==2.3.3
cat > run.py <<'PY'
from importlib.metadata import version

import krippendorff
import numpy as np
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

nan = np.nan
graded = [[1, 1, 1], [1, 2, 1], [2, 2, 2], [2, 1, 2], [1, 1, 2], [2, 2, 1]]
cases = {
    "all graded": graded,
    "and three items that nobody graded": graded + [[nan] * 3] * 3,
    "and three that one graded": graded + [[nan, nan, 1]] * 3,
}
for name, rows in cases.items():
    table, categories = aggregate_raters(np.array(rows, dtype=float))
    kappa = fleiss_kappa(table)
    alpha = krippendorff.alpha(reliability_data=np.array(rows, dtype=float).T, level_of_measurement="nominal")
    print(
        f"statsmodels {version('statsmodels')}, {name}: kappa {kappa:.2f} of categories {categories.tolist()}; "
        f"krippendorff {version('krippendorff')}: {alpha:.2f}", flush=True,
    )
PY
env/bin/python run.py | tee seen
diff <(sed 's/^[^,]*, //' seen) - <<'SEEN'
all graded: kappa 0.11 of categories [1.0, 2.0]; krippendorff 0.9.0: 0.16
and three items that nobody graded: kappa 0.56 of categories [1.0, 2.0, nan]; krippendorff 0.9.0: 0.16
and three that one graded: kappa 0.19 of categories [1.0, 2.0, nan]; krippendorff 0.9.0: 0.16
SEEN
