#!/usr/bin/env bash
# usearch 2.26.6: an index that is asked for by metric "l2sq" (distance) or "ip" (inner product) and dtype "i8", a quarter
# of the memory, brings each vector to the length 1 before it rounds. What is left is the direction: the nearest by
# distance is a vector a hundred times as long that points the same way, the largest inner product is no more that of
# the longest, and distances are whole numbers of another scale. add() and search() take all of it without a warning,
# and f32, bf16, f16, e5m2 and e4m3 in the same line keep lengths, so one takes i8 for coarser and not for another
# question. By "cos", the default, it is coarser only. Memories and recommendations whose length carries weight are hit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check usearch==2.26.6 numpy==2.3.5
cat > run.py <<'PY'
from importlib.metadata import version

import numpy as np
from usearch.index import Index

kept = np.array([[1.0, 2, 3, 4], [100, 200, 300, 401], [1.1, 2.1, 2.9, 3.8]], dtype=np.float32)
asked = np.array([1.0, 2, 3, 4.01], dtype=np.float32)
true = {"l2sq": ((kept - asked) ** 2).sum(axis=1), "ip": 1 - kept @ asked, "cos": None}
true["cos"] = 1 - kept @ asked / np.linalg.norm(kept, axis=1) / np.linalg.norm(asked)
for metric in ("l2sq", "ip", "cos"):
    for dtype in ("f32", "f16", "e4m3", "i8"):
        index = Index(ndim=4, metric=metric, dtype=dtype)
        index.add(np.arange(3), kept)
        found = {int(match.key): float(match.distance) for match in index.search(asked, 3)}
        near, far = (f"{found[key]:.0f} (truly {true[metric][key]:.0f})" for key in (0, 1))
        print(f"usearch {version('usearch')}, {metric}, {dtype}: a vector like it {near}, one 100 times as long {far}", flush=True)
PY
env/bin/python run.py | tee seen
grep -q "l2sq, f32: a vector like it 0 .*long 294815 (truly 294815)" seen && grep -q "ip, f32: .*long -3007 (truly -3007)" seen
grep -q "l2sq, i8: a vector like it 0 .*long 0 (truly 294815)" seen
[ "$(sed -n 's/.*ip, i8: a vector like it \(.*\) (truly -29).*/\1/p' seen)" = "$(sed -n 's/.*ip, i8:.*long \(.*\) (truly -3007)/\1/p' seen)" ]
