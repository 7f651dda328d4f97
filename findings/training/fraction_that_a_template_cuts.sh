#!/usr/bin/env bash
# orbax-checkpoint 0.12.8: StandardCheckpointer.restore(path, template) takes each value in the template's type,
# whatever was saved. A state that begins with best_loss 0 so comes back from a checkpoint with 0.53 as 0, and no later
# loss is ever better; a counter of 32 bits in a template of 8 is another number, weights in one of whole numbers are
# cut. A jax array of another shape is refused with a clear error, so that one takes all of it for checked; a numpy
# array (the places of five readers where three were saved) is not. Nothing is said. Restored without a template all
# values are as they were.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check orbax-checkpoint==0.12.8
cat > run.py <<'PY'
from importlib.metadata import version
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

saved = {"best_loss": 0.53, "count": jnp.array(16_777_217), "weights": jnp.array([1.5, -1.5]), "places": np.array([7, 8, 9])}
start = {"best_loss": 0.0, "count": jnp.array(0), "weights": jnp.zeros(2), "places": np.zeros(3, int)}
templates = {
    "as it was saved": {},
    "best_loss 0": {"best_loss": 0},
    "count of 8 bits": {"count": jnp.array(0, jnp.int8)},
    "whole weights": {"weights": jnp.array([0, 0])},
    "five places": {"places": np.zeros(5, int)},
    "five weights": {"weights": jnp.zeros(5)},
}
checkpointer = ocp.StandardCheckpointer()
place = Path("checkpoint").resolve()
checkpointer.save(place, saved)
checkpointer.wait_until_finished()
for name, other in templates.items():
    try:
        state = checkpointer.restore(place, start | other)
        said = ", ".join(f"{key} {np.asarray(value).round(2).tolist()}" for key, value in state.items())
    except ValueError as error:
        said = "refused, the shape" if "shape" in str(error) else str(error)
    print(f"orbax-checkpoint {version('orbax-checkpoint')}, {name}: {said}", flush=True)
PY
JAX_PLATFORMS=cpu env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(cut -d, -f2- seen) - <<'SEEN'
 as it was saved: best_loss 0.53, count 16777217, places [7, 8, 9], weights [1.5, -1.5]
 best_loss 0: best_loss 0, count 16777217, places [7, 8, 9], weights [1.5, -1.5]
 count of 8 bits: best_loss 0.53, count 1, places [7, 8, 9], weights [1.5, -1.5]
 whole weights: best_loss 0.53, count 16777217, places [7, 8, 9], weights [1, -1]
 five places: best_loss 0.53, count 16777217, places [7, 8, 9], weights [1.5, -1.5]
 five weights: refused, the shape
SEEN
