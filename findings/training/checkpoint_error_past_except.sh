#!/usr/bin/env bash
# torch 2.13: what torch.distributed.checkpoint raises, CheckpointException, is a BaseException and no Exception. A loop
# that takes the newest checkpoint and, where it cannot be read, the one before (`except Exception`) so does not go on to
# the one before: the run ends at a damaged checkpoint though a whole one lies beside it. The OSError or ValueError that
# was the reason is inside of it, so that naming those does not help either, with one process or with several.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 numpy
cat > run.py <<'PY'
import shutil
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp


def resume(caught):
    for step in (2, 1):
        weights = {"weight": torch.zeros(64)}
        try:
            dcp.load(weights, checkpoint_id=f"damaged/step-{step}", no_dist=True)
        except caught:
            continue
        return f"went on from step {step}"
    return "nothing could be read"


def cut(file):
    file.write_bytes(file.read_bytes()[:100])


for step in (1, 2):
    dcp.save({"weight": torch.full((64,), float(step))}, checkpoint_id=f"whole/step-{step}", no_dist=True)
for damage, harm in (("none", lambda file: None), ("a file is gone", Path.unlink), ("a file is cut", cut)):
    shutil.rmtree("damaged", ignore_errors=True)
    shutil.copytree("whole", "damaged")
    harm(next(Path("damaged/step-2").glob("*.distcp")))
    for name, caught in (("Exception", Exception), ("CheckpointException", dcp.CheckpointException)):
        try:
            said = resume(caught)
        except BaseException as error:
            said = f"ended by {type(error).__name__} (an Exception: {isinstance(error, Exception)})"
        print(f"torch {torch.__version__.split('+')[0]}, damage: {damage}, except {name}: {said}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff seen - <<'SEEN'
torch 2.13.0, damage: none, except Exception: went on from step 2
torch 2.13.0, damage: none, except CheckpointException: went on from step 2
torch 2.13.0, damage: a file is gone, except Exception: ended by CheckpointException (an Exception: False)
torch 2.13.0, damage: a file is gone, except CheckpointException: went on from step 1
torch 2.13.0, damage: a file is cut, except Exception: ended by CheckpointException (an Exception: False)
torch 2.13.0, damage: a file is cut, except CheckpointException: went on from step 1
SEEN
