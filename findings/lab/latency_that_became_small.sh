#!/usr/bin/env bash
# datasketches 5.2.0, whose sketches tell the median and the 99th percentile of what many servers saw: a kll_ints_sketch or
# req_ints_sketch holds 32 bits. A number that is larger, and one with a fraction, is refused with a TypeError where it is
# given by itself. In a NumPy array, the fast way, both are taken: 5 seconds in nanoseconds are 705032704, under those of
# 1 second, and 3 seconds are negative, so that the slowest requests make the percentile better; 3.7 is 3. No error and
# no warning; who tried it with one number takes it for checked. kll_doubles_sketch has what was put in.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check datasketches==5.2.0 numpy==2.4.6
cat > run.py <<'PY'
import warnings
from importlib.metadata import version

import datasketches
import numpy as np

SECOND = 1_000_000_000
SEEN = {
    "5 s in ns": np.full(5, 5 * SECOND),
    "3 s in ns": np.full(5, 3 * SECOND),
    "3.7": np.full(5, 3.7),
}


def told(kind, values):
    sketch = getattr(datasketches, kind)(200)
    try:
        sketch.update(values)
    except TypeError:
        return "refused"
    return f"{sketch.get_quantile(0.5):.10g}"


print(f"datasketches {version('datasketches')}")
for kind in ("kll_ints_sketch", "req_ints_sketch", "kll_doubles_sketch"):
    for name, values in SEEN.items():
        one = values[0].item()
        with warnings.catch_warnings(record=True) as warned:
            many = told(kind, values)
        print(f"{kind}, {name}: array {many}, alone {told(kind, one)}, {len(warned)} warnings", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
tail -n +2 seen | diff - <(cat <<'SEEN'
kll_ints_sketch, 5 s in ns: array 705032704, alone refused, 0 warnings
kll_ints_sketch, 3 s in ns: array -1294967296, alone refused, 0 warnings
kll_ints_sketch, 3.7: array 3, alone refused, 0 warnings
req_ints_sketch, 5 s in ns: array 705032704, alone refused, 0 warnings
req_ints_sketch, 3 s in ns: array -1294967296, alone refused, 0 warnings
req_ints_sketch, 3.7: array 3, alone refused, 0 warnings
kll_doubles_sketch, 5 s in ns: array 5000000000, alone 5000000000, 0 warnings
kll_doubles_sketch, 3 s in ns: array 3000000000, alone 3000000000, 0 warnings
kll_doubles_sketch, 3.7: array 3.7, alone 3.7, 0 warnings
SEEN
)
