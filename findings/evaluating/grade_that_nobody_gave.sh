#!/usr/bin/env bash
# scikit-learn 1.9.1: cohen_kappa_score(weights="quadratic"), by which judges and people are compared on grades from 1 to
# 5, does not weigh by how far two grades lie apart, but by how far their places in the list of grades do that somebody
# gave. Where nobody gave 3 or 4, a 5 for a 2 is as small a mistake as a 2 for a 1, and the agreement looks better: 0.79
# for 0.61 below. One more item on which both say 3 makes it worse. labels=[1, 2, 3, 4, 5] gives what one takes it for;
# the grades 1, 10 and 100 are 1, 2 and 3 in any case.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check scikit-learn==1.9.1 numpy==2.3.5
cat > run.py <<'PY'
import warnings

import numpy as np
import sklearn
from sklearn.metrics import cohen_kappa_score

judge, person = [1, 2, 5, 5, 1, 2, 2, 5], [1, 5, 5, 2, 1, 2, 2, 5]


def kappa(a, b, **more):
    with warnings.catch_warnings(record=True) as warned:
        value = cohen_kappa_score(a, b, weights="quadratic", **more)
    return f"{value:.3f}, {len(warned)} warnings"


def by_value(a, b):
    a, b = np.array(a), np.array(b)
    return f"{1 - ((a - b) ** 2).mean() / ((a[:, None] - b) ** 2).mean():.3f}"


agreed = judge + [3], person + [3]
print(f"scikit-learn {sklearn.__version__}, grades 1, 2 and 5: {kappa(judge, person)}; by distance {by_value(judge, person)}")
print(f"with labels=[1, 2, 3, 4, 5]: {kappa(judge, person, labels=[1, 2, 3, 4, 5])}")
print(f"with an item on which both say 3: {kappa(*agreed)}; by distance {by_value(*agreed)}")
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^scikit-learn [0-9.]*, //' seen) - <<'SEEN'
grades 1, 2 and 5: 0.795, 0 warnings; by distance 0.607
with labels=[1, 2, 3, 4, 5]: 0.607, 0 warnings
with an item on which both say 3: 0.673, 0 warnings; by distance 0.607
SEEN
