#!/usr/bin/env bash
# keras 3.15.1: an optimizer with gradient_accumulation_steps=4 changes the weights once in four batches, and its
# `iterations` counts those changes, 8 below. The learning rate of a schedule is taken by another count, that of
# batches: a decay over 8 steps is over after 2, what follows is learned at the rate 0, and a warm-up is a quarter as long.
# The moving average of weights (use_ema) is taken at each batch too, so that it follows the weights four times as closely.
# Momentum and clipping are as with batches of four times the size, as the
# documentation promises of accumulation, so that a test at a constant rate sees nothing. No warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 numpy==2.4.6
cat > run.py <<'PY'
import os

os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np

ROWS = np.ones((32, 1), np.float32)


def trained(accumulated, rate=0.1, **more):
    optimizer = keras.optimizers.SGD(rate, gradient_accumulation_steps=accumulated, **more)
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(optimizer, "mse")
    model.fit(ROWS, ROWS, batch_size=1 if accumulated else 4, epochs=1, verbose=0, shuffle=False)
    return float(model.layers[0].kernel[0, 0]), int(optimizer.iterations)


CASES = {
    "constant": {},
    "momentum, clipping": {"momentum": 0.9, "clipnorm": 0.3},
    "cosine over 8 steps": {"rate": keras.optimizers.schedules.CosineDecay(0.1, decay_steps=8)},
    "average of weights": {"use_ema": True, "ema_momentum": 0.5},
}
print(f"keras {keras.__version__}")
for name, more in CASES.items():
    whole, steps = trained(None, **more)
    parts, counted = trained(4, **more)
    print(f"{name}: weight {whole:.3f} by 8 batches of 4, {parts:.3f} by 32 of 1; iterations {steps} and {counted}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
! grep -i warn errors
tail -n +2 seen | diff - <(cat <<'SEEN'
constant: weight 0.832 by 8 batches of 4, 0.832 by 32 of 1; iterations 8 and 8
momentum, clipping: weight 0.862 by 8 batches of 4, 0.862 by 32 of 1; iterations 8 and 8
cosine over 8 steps: weight 0.624 by 8 batches of 4, 0.145 by 32 of 1; iterations 8 and 8
average of weights: weight 0.778 by 8 batches of 4, 0.809 by 32 of 1; iterations 8 and 8
SEEN
)
