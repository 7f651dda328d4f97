"""Twice the blocks on the same tokens."""

from ayllu.recipes.sweeping.experiment import Experiment, Prediction

EXPERIMENT = Experiment(
    question="Do 4 blocks instead of 2 lower the bits per byte of a run of 150,000 tokens by 0.02?",
    prediction=Prediction(
        below=-0.02,
        why="A law of size says that more parameters on the same tokens are never worse, and these are a quarter more.",
    ),
    options={"budget": 0.125, "speed": 20_000.0, "width": 64, "batch": 16},
    arms={"2 blocks": {"depth": 2}, "4 blocks": {"depth": 4}},
    heldout=100,
)

# Written by `ayllu experiment run`.
RESULT = {
    "verdict": "open",
    "difference": -0.01751,
    "low": -0.08152,
    "high": 0.0465,
    "bits_per_byte": {"2 blocks": [2.435975, 2.394502, 2.393069], "4 blocks": [2.397478, 2.369221, 2.404318]},
    "date": "2026-12-01",
    "processor": "AMD EPYC",
    "asked": "e0a86c12374c27cf443aa5552d0d9fd0073b0456e2c0e6a083534bc0d4c16e28",
}
