#!/usr/bin/env bash
# fsspec 2026.9.0: generic.rsync(source, destination), by which a job brings a folder of one store to another, takes a
# file for the same when its size is. Tools of that name look at the time or a digest as well. The next checkpoint of a
# model has the size of the one before to the byte, so its weights are never copied, while a log that grew is: the
# destination holds old weights under a new log, and what rsync() returns names the log alone. The state's own
# step count is old too if it has as many digits. Nothing is said; the docstring has it in a word ("usually size") at
# update_cond, whose name, "different", promises more. Memory, disk and buckets are alike in it. update_cond="always", or
# a function that takes a digest, copies.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check fsspec==2026.9.0 safetensors==0.8.0 numpy==2.4.6
cat > run.py <<'PY'
import json
import warnings
from pathlib import Path

import fsspec
import numpy as np
from fsspec.generic import rsync
from safetensors.numpy import load, save

run = Path("run").absolute()
run.mkdir()
store = fsspec.filesystem("memory")


def step(number):
    (run / "model.safetensors").write_bytes(save({"w": np.full(1000, number, dtype="float32")}))
    (run / "state.json").write_text(json.dumps({"step": number}))
    with (run / "log.txt").open("a") as log:
        log.write(f"step {number}\n")


def held():
    weights = load(store.cat("/kept/model.safetensors"))["w"]
    state = json.loads(store.cat("/kept/state.json"))["step"]
    last = store.cat("/kept/log.txt").split()[-1].decode()
    return f"weights of step {weights[0]:.0f}, state of step {state}, log until {last}"


step(100)
rsync(f"file://{run}", "memory://kept")
print(f"fsspec {fsspec.__version__}, first: {held()}", flush=True)
step(200)
with warnings.catch_warnings(record=True) as warned:
    copied = rsync(f"file://{run}", "memory://kept")
print(f"again: {held()}; copied {[Path(name).name for name in copied]}, {len(warned)} warnings", flush=True)
rsync(f"file://{run}", "memory://kept", update_cond="always")
print(f'update_cond="always": {held()}', flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^fsspec [^,]*, //' seen) - <<'SEEN'
first: weights of step 100, state of step 100, log until 100
again: weights of step 100, state of step 100, log until 200; copied ['log.txt'], 0 warnings
update_cond="always": weights of step 200, state of step 200, log until 200
SEEN
