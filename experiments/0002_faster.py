"""Twice the learning rate."""

from ayllu.recipes.sweeping.experiment import Experiment, Prediction

EXPERIMENT = Experiment(
    question="Does a peak learning rate of 0.02 instead of 0.01 lower the bits per byte of a run of 150,000 tokens?",
    prediction=Prediction(
        below=-0.02,
        why="The rate was chosen on runs of thousands of steps; one of 37 has no time to make use of small ones.",
    ),
    options={"budget": 0.125, "speed": 20_000.0, "width": 64, "depth": 2, "batch": 16},
    arms={"0.01": {"lr": 0.01}, "0.02": {"lr": 0.02}},
    heldout=100,
)

# Written by `ayllu experiment run`.
RESULT = {
    "verdict": "open",
    "difference": -0.06128,
    "low": -0.10922,
    "high": -0.01334,
    "bits_per_byte": {"0.01": [2.435975, 2.394502, 2.393069], "0.02": [2.395087, 2.315246, 2.329379]},
    "date": "2026-12-01",
    "processor": "AMD EPYC",
    "asked": "bc9e3e7eea3a362b5b960666a514406551b41e15bcee0af270b1335da3a20640",
}
