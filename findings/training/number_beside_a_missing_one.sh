#!/usr/bin/env bash
# datasets 5.2.0 in the format "torch" or "numpy": a column of 64-bit integers (a row's id, a time, a hash's beginning) is
# exact when read row by row, and also in batches, unless another row of the same batch has none there: then the whole
# batch comes as float32, which keeps 24 bits, and the id is another id. So what a row is called depends on what it was
# batched with; the column's features still say int64, and no warning comes. Without a format Python's numbers are exact.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 numpy datasets==5.2.0
cat > run.py <<'PY'
import datasets
from datasets import Dataset

first = 16_777_217
data = Dataset.from_dict({"row": [first, first + 2, None]})
print(f"datasets {datasets.__version__}, column of {data.features['row'].dtype}, its first number {first}", flush=True)
assert data[:]["row"][0] == first
for form in ("torch", "numpy"):
    made = data.with_format(form)
    read = {"row 0": made[0]["row"], "rows 0 and 1": made[0:2]["row"][0], "rows 0 to 2": made[0:3]["row"][0]}
    for name, value in read.items():
        print(f"{form}, from {name}: {int(value)} as {str(value.dtype).removeprefix('torch.')}", flush=True)
PY
HF_DATASETS_OFFLINE=1 env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(tail -n +2 seen) - <<'SEEN'
torch, from row 0: 16777217 as int64
torch, from rows 0 and 1: 16777217 as int64
torch, from rows 0 to 2: 16777216 as float32
numpy, from row 0: 16777217 as int64
numpy, from rows 0 and 1: 16777217 as int64
numpy, from rows 0 to 2: 16777216 as float32
SEEN
