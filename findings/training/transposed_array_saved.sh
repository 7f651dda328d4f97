#!/usr/bin/env bash
# safetensors 0.8.0, NumPy: save() and save_file() of an array that is not laid out row by row (a transposed one, one in
# Fortran's order, every second column) write its memory as it lies under the shape that the array has. Nothing is said,
# the file is valid, and what is loaded has the right shape, type and, where nothing was left out, the right sum, with
# the values in other places. 0.7.0 wrote what the array holds. A head computed as `weights.T` so is another model after
# the upgrade; np.ascontiguousarray() before saving helps. Of a torch tensor like that the library says that it refuses.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > run.py <<'PY'
from importlib.metadata import version

import numpy as np
from safetensors.numpy import load_file, save_file

rows = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
cases = {
    "as it is": rows,
    "transposed": rows.T,
    "in Fortran's order": np.asfortranarray(rows),
    "every second column": rows[:, ::2],
    "transposed, then ascontiguousarray": np.ascontiguousarray(rows.T),
}
for name, array in cases.items():
    save_file({"head": array}, "head.safetensors")
    loaded = load_file("head.safetensors")["head"]
    assert loaded.shape == array.shape and loaded.dtype == array.dtype
    said = "equal" if np.array_equal(loaded, array) else "other values"
    print(f"safetensors {version('safetensors')}, {name}: {said}", flush=True)
PY
for safetensors in 0.7.0 0.8.0; do
  python3 -m venv "env-$safetensors"
  "env-$safetensors/bin/pip" install --quiet --disable-pip-version-check "safetensors==$safetensors" numpy==2.4.6
  "env-$safetensors/bin/python" run.py | tee -a seen
done
[ "$(grep -c '0.7.0, .*: equal' seen)" = 5 ] && [ "$(grep -c '0.8.0, .*: equal' seen)" = 2 ]
for name in transposed "in Fortran's order" "every second column"; do grep -q "0.8.0, $name: other values" seen; done
