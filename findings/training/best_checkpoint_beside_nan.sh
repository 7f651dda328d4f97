#!/usr/bin/env bash
# orbax-checkpoint 0.12.8: CheckpointManager keeps the best checkpoints by `best_fn`. One loss that is NaN spoils the
# order by which they are compared: with best_mode "min" the NaN counts as the best, is named by best_step(), and the
# checkpoint with the lowest loss is deleted to make room for it. With "max" it is the same. So the run that blows up at
# its end, for which one keeps old checkpoints, leaves the broken ones. A best_fn that gives infinity for NaN keeps the
# right ones.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check orbax-checkpoint==0.12.8
cat > run.py <<'PY'
import math
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp


def plain(metrics):
    return metrics["loss"]


def guarded(metrics):
    return math.inf if math.isnan(metrics["loss"]) else metrics["loss"]


def kept(losses, best_fn):
    place = Path("checkpoints").resolve()
    shutil.rmtree(place, ignore_errors=True)
    options = ocp.CheckpointManagerOptions(
        max_to_keep=2, best_fn=best_fn, best_mode="min", enable_async_checkpointing=False
    )
    with ocp.CheckpointManager(place, options=options) as manager:
        for step, loss in enumerate(losses):
            manager.save(step, args=ocp.args.StandardSave({"weight": np.zeros(2)}), metrics={"loss": loss})
        manager.wait_until_finished()
        return [losses[step] for step in manager.all_steps()], losses[manager.best_step()]


for losses in ([3.0, 1.0, 2.5, 2.0], [3.0, 1.0, math.nan, 2.0], [1.0, math.nan, math.nan]):
    for name, best_fn in (("the loss", plain), ("infinity for NaN", guarded)):
        left, best = kept(losses, best_fn)
        print(f"orbax-checkpoint {version('orbax-checkpoint')}, losses {losses}, best_fn gives {name}: kept {left}, best {best}")
PY
JAX_PLATFORMS=cpu env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/.*losses //' seen) - <<'SEEN'
[3.0, 1.0, 2.5, 2.0], best_fn gives the loss: kept [1.0, 2.0], best 1.0
[3.0, 1.0, 2.5, 2.0], best_fn gives infinity for NaN: kept [1.0, 2.0], best 1.0
[3.0, 1.0, nan, 2.0], best_fn gives the loss: kept [nan, 2.0], best 2.0
[3.0, 1.0, nan, 2.0], best_fn gives infinity for NaN: kept [1.0, 2.0], best 1.0
[1.0, nan, nan], best_fn gives the loss: kept [nan, nan], best nan
[1.0, nan, nan], best_fn gives infinity for NaN: kept [1.0, nan], best 1.0
SEEN
